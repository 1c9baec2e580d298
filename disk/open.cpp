// SPDX-License-Identifier: Apache-2.0
#include "disk/open.hpp"

#include "disk/file_store.hpp"
#include "disk/raw_image.hpp"
#include "disk/vhd/dynamic_image.hpp"
#include "disk/vhd/fixed_image.hpp"
#include "disk/vhdx/image.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unordered_set>

namespace croft::disk {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t depth_max = 1024;
constexpr std::uint32_t raw_sector_size = 512;
constexpr std::uint32_t iso_sector_size = 2048;

bool has_text_at(Store& store, std::uint64_t offset, std::string_view text) {
    std::array<char, 16> found{};
    const auto bytes = std::span{found}.first(text.size());
    return store.size() >= offset + text.size() &&
        store.read(offset, std::as_writable_bytes(bytes)) &&
        std::string_view{bytes.data(), bytes.size()} == text;
}

bool is_one_of(const std::string& identity, const std::vector<std::string>& wanted) {
    return std::ranges::find(wanted, identity) != wanted.end();
}

// A time is no identity: copying a file changes it. So the parent is taken, but check() tells.
void compare_times(Image& child, const Image& parent, const std::string& parent_path) {
    const auto expected = child.info().parent_modified;
    const auto found = parent.store().modified();
    if (!expected || !found || *expected == *found)
        return;
    const auto text = [](std::int64_t seconds) {
        return fmt::format(
            "{:%Y-%m-%d %H:%M:%S} UTC", fmt::gmtime(static_cast<std::time_t>(seconds)));
    };
    child.add_note(fmt::format(
        "parent {}: found modified at {}, expected {}, when this disk was made from it. If it was "
        "written since, this disk is of no use; if it was only copied, all is well",
        parent_path, text(*found), text(*expected)));
}

// Opens the parent of `child`: the first candidate that exists counts if its identity fits; one
// that doesn't is remembered for the message.
Result<std::unique_ptr<Image>> open_parent(const std::string& child_path, Image& child,
    const OpenOptions& options, const StoreOpener& opener, std::string& path) {
    const ImageInfo& info = child.info();
    std::optional<Error> first;
    std::string tried;
    for (const std::string& candidate : parent_candidates(child_path, info.parent_paths)) {
        tried += (tried.empty() ? "" : ", ") + candidate;
        auto store = opener(candidate, false, options.direct, options.lock);
        if (!store) {
            if (store.error().code != ErrorCode::not_found && !first)
                first = std::move(store).error();
            continue;
        }
        auto image = open_image(*std::move(store), info.format, options.cache_bytes / 4);
        if (!image) {
            if (!first)
                first = std::move(image).error();
            continue;
        }
        if (is_one_of((*image)->info().identity, info.parent_identities)) {
            path = candidate;
            compare_times(child, **image, candidate);
            return image;
        }
        if (!first)
            first = Error::of(ErrorCode::parent_mismatch, child_path,
                fmt::format("parent {}: found identity {}, expected {}", candidate,
                    (*image)->info().identity, info.parent_identities.front()));
    }
    if (first)
        return std::unexpected(*std::move(first));
    return std::unexpected(Error::of(ErrorCode::not_found, child_path,
        "found no parent; looked for " + (tried.empty() ? "none: it names no path" : tried)));
}

} // namespace

StoreOpener file_opener() {
    return [](const std::string& path, bool write, bool direct,
               bool lock) -> Result<std::unique_ptr<Store>> {
        return FileStore::open(path, {.write = write, .direct = direct, .lock = lock});
    };
}

Format detect_format(Store& store) {
    if (has_text_at(store, 0, "vhdxfile"))
        return Format::vhdx;
    if (vhd::has_footer(store))
        return Format::vhd;
    if (has_text_at(store, 16 * iso_sector_size + 1, "CD001"))
        return Format::iso;
    return Format::raw;
}

Result<std::unique_ptr<Image>> open_image(
    std::unique_ptr<Store> store, std::optional<Format> format, std::size_t cache_bytes) {
    switch (format.value_or(detect_format(*store))) {
    case Format::vhdx:
        return vhdx::VhdxImage::open(
            std::move(store), {.cache_pages = cache_bytes / vhdx::log_sector_size});
    case Format::vhd: {
        const auto footer = vhd::read_footer(*store);
        if (!footer)
            return std::unexpected(footer.error());
        if (footer->footer.disk_type == static_cast<std::uint32_t>(vhd::DiskType::fixed))
            return std::make_unique<vhd::FixedImage>(std::move(store), *footer);
        return vhd::DynamicImage::open(
            std::move(store), *footer, {.cache_pages = cache_bytes / vhd::sector_size});
    }
    case Format::iso:
        return RawImage::open(std::move(store), Format::iso, iso_sector_size);
    case Format::raw:
        break;
    }
    return RawImage::open(std::move(store), Format::raw, raw_sector_size);
}

Result<std::unique_ptr<Chain>> open_chain(
    const std::string& path, const OpenOptions& options, const StoreOpener& opener) {
    std::vector<std::unique_ptr<Image>> images;
    auto store = opener(path, options.write, options.direct, options.lock);
    if (!store)
        return std::unexpected(std::move(store).error());
    auto top = open_image(*std::move(store), options.format, options.cache_bytes);
    if (!top)
        return std::unexpected(std::move(top).error());
    images.push_back(*std::move(top));
    std::string current = path;
    // Identities don't repeat in a chain, so a loop shows.
    std::unordered_set<std::string> seen{images.front()->info().identity};
    while (options.with_parents && images.back()->info().allocation == Allocation::differencing) {
        std::string parent_path;
        auto parent = open_parent(current, *images.back(), options, opener, parent_path);
        if (!parent)
            return std::unexpected(std::move(parent).error());
        if (!seen.insert((*parent)->info().identity).second || images.size() >= depth_max)
            return std::unexpected(Error::of(ErrorCode::corrupt, parent_path,
                "the chain of parents comes back to an image that is in it"));
        if ((*parent)->info().logical_sector_size != images.front()->info().logical_sector_size)
            return std::unexpected(Error::of(ErrorCode::unsupported, parent_path,
                fmt::format("logical sector size: found {}, expected the child's {}",
                    (*parent)->info().logical_sector_size,
                    images.front()->info().logical_sector_size)));
        images.push_back(*std::move(parent));
        current = parent_path;
    }
    return std::make_unique<Chain>(std::move(images));
}

std::vector<std::string> parent_candidates(
    const std::string& image_path, const std::vector<std::string>& parent_paths) {
    const fs::path folder = fs::path{image_path}.parent_path();
    std::vector<std::string> candidates;
    const auto add = [&candidates](const fs::path& path) {
        std::string text = path.lexically_normal().string();
        if (!text.empty() && std::ranges::find(candidates, text) == candidates.end())
            candidates.push_back(std::move(text));
    };
    std::vector<std::string> names;
    for (std::string text : parent_paths) {
        std::ranges::replace(text, '\\', '/');
        if (text.starts_with("//?/"))
            text.erase(0, 4);
        const bool of_a_drive = text.size() > 1 && text[1] == ':';
        const bool of_a_volume = text.starts_with("Volume{") || text.starts_with("//");
        names.push_back(text.substr(text.find_last_of("/:") + 1));
        if (of_a_drive || of_a_volume)
            continue; // Windows' own; the file may have come along, so its name is tried below
        add(text.starts_with('/') ? fs::path{text} : folder / text);
    }
    for (const std::string& name : names) {
        if (!name.empty())
            add(folder / name);
    }
    return candidates;
}

std::string windows_relative_path(const std::string& child_path, const std::string& parent_path) {
    std::error_code error;
    const fs::path folder = fs::weakly_canonical(fs::absolute(child_path).parent_path(), error);
    const fs::path parent = fs::weakly_canonical(fs::absolute(parent_path), error);
    std::string text = parent.lexically_relative(folder).string();
    if (text.empty())
        return {};
    if (!text.starts_with(".."))
        text.insert(0, "./");
    std::ranges::replace(text, '/', '\\');
    return text;
}

std::string windows_absolute_path(const std::string& path) {
    std::error_code error;
    std::string text = fs::weakly_canonical(fs::absolute(path), error).string();
    std::ranges::replace(text, '/', '\\');
    return text;
}

} // namespace croft::disk
