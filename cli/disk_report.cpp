// SPDX-License-Identifier: Apache-2.0
#include "cli/disk_report.hpp"

#include "cli/output.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

namespace croft::cli {

using disk::Finding;
using nlohmann::json;

namespace {

constexpr std::uint64_t mebibyte = 1U << 20U;
constexpr std::uint64_t gibibyte = 1U << 30U;

std::uint64_t bytes_on_host(const disk::Store& store) {
    struct stat status {};
    if (store.descriptor() < 0 || fstat(store.descriptor(), &status) != 0)
        return store.size();
    return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

std::string_view health_of(const disk::CheckReport& report) {
    bool damage = false;
    for (const Finding& finding : report.findings) {
        if (finding.severity == Finding::Severity::loss)
            return "loss";
        damage |= finding.severity == Finding::Severity::damage;
    }
    return damage ? "damage" : "good";
}

} // namespace

json json_of(const disk::Error& error) {
    json object{{"code", disk::to_string(error.code)}, {"file", error.file}, {"what", error.what}};
    if (error.offset)
        object["offset"] = *error.offset;
    if (error.os_error != 0)
        object["errno"] = error.os_error;
    return object;
}

json json_of(const Finding& finding) {
    return {{"severity", disk::to_string(finding.severity)}, {"offset", finding.offset},
        {"what", finding.what}, {"lost", finding.lost}, {"repairable", finding.repairable}};
}

json json_of(const disk::CheckReport& report) {
    json findings = json::array();
    for (const Finding& finding : report.findings)
        findings.push_back(json_of(finding));
    return {{"health", health_of(report)}, {"found", report.found}, {"lost", report.lost},
        {"leaked", report.leaked}, {"blocks_used", report.blocks_used},
        {"fragments", report.fragments}, {"findings", std::move(findings)}};
}

disk::Result<json> describe(disk::Image& image) {
    const disk::ImageInfo& info = image.info();
    json object{{"file", image.store().name()}, {"format", disk::to_string(info.format)},
        {"allocation", disk::to_string(info.allocation)}, {"size", image.size()},
        {"file_size", image.store().size()}, {"file_allocated", bytes_on_host(image.store())},
        {"logical_sector_size", info.logical_sector_size},
        {"physical_sector_size", info.physical_sector_size}, {"block_size", info.block_size},
        {"identity", info.identity}, {"creator", info.creator}};
    if (info.allocation == disk::Allocation::differencing) {
        object["parent_identities"] = info.parent_identities;
        object["parent_paths"] = info.parent_paths;
    }
    const auto report = disk::check(image);
    if (!report)
        return std::unexpected(report.error());
    object["health"] = health_of(*report);
    object["leaked"] = report->leaked;
    object["blocks_used"] = report->blocks_used;
    object["fragments"] = report->fragments;
    return object;
}

std::string text_of_check(const disk::CheckReport& report) {
    std::string text;
    for (const Finding& finding : report.findings)
        text += fmt::format("{}: at offset {}: {}{}\n", disk::to_string(finding.severity),
            finding.offset, finding.what,
            finding.lost != 0 ? fmt::format(" (a repair gives up {})", size_text(finding.lost))
                              : "");
    if (report.found > report.findings.size())
        text += fmt::format("… and {} more\n", report.found - report.findings.size());
    text += fmt::format("health: {}\n", health_of(report));
    return text;
}

std::string text_of_images(const json& images) {
    std::string text;
    std::string indent;
    for (const json& image : images) {
        text += fmt::format(
            "{}{}{}\n", indent, indent.empty() ? "" : "└ ", image["file"].get<std::string>());
        indent += indent.empty() ? "  " : "    ";
        const auto line = [&](std::string_view name, std::string_view value) {
            text += fmt::format("{}{:<12} {}\n", indent, name, value);
        };
        const auto size = [&](const char* key) {
            return size_text(image[key].get<std::uint64_t>());
        };
        line("format",
            fmt::format("{}, {}", image["format"].get<std::string>(),
                image["allocation"].get<std::string>()));
        line("size",
            fmt::format("{} ({} bytes), sectors of {} / {}", size("size"),
                image["size"].get<std::uint64_t>(),
                image["logical_sector_size"].get<std::uint32_t>(),
                image["physical_sector_size"].get<std::uint32_t>()));
        line("file", fmt::format("{}, takes {}", size("file_size"), size("file_allocated")));
        if (image["block_size"].get<std::uint32_t>() != 0)
            line("blocks",
                fmt::format("of {}, {} in use, {} fragments", size("block_size"),
                    image["blocks_used"].get<std::uint64_t>(),
                    image["fragments"].get<std::uint64_t>()));
        if (const auto identity = image["identity"].get<std::string>(); !identity.empty())
            line("identity", identity);
        if (const auto creator = image["creator"].get<std::string>(); !creator.empty())
            line("creator", creator);
        line("health", image["health"].get<std::string>());
    }
    return text;
}

std::vector<std::string> azure_objections(disk::Image& image) {
    std::vector<std::string> objections;
    const disk::ImageInfo& info = image.info();
    if (info.format != disk::Format::vhd)
        objections.push_back(
            fmt::format("format: found {}, expected vhd", disk::to_string(info.format)));
    if (info.allocation != disk::Allocation::fixed)
        objections.push_back(
            fmt::format("allocation: found {}, expected fixed", disk::to_string(info.allocation)));
    if (image.size() % mebibyte != 0)
        objections.push_back(
            fmt::format("size: found {} bytes, expected a multiple of 1 MiB", image.size()));
    if (image.size() > 2040 * gibibyte) // a page blob takes 2 TiB less the footer's room
        objections.push_back(
            fmt::format("size: found {}, expected at most 2040 GiB", size_text(image.size())));
    if (info.format == disk::Format::vhd && info.allocation == disk::Allocation::fixed &&
        image.store().size() != image.size() + 512)
        objections.push_back(fmt::format("file: found {} bytes, expected {} and a footer of 512",
            image.store().size(), image.size()));
    return objections;
}

} // namespace croft::cli
