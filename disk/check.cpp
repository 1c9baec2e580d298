// SPDX-License-Identifier: Apache-2.0
#include "disk/check.hpp"

#include "disk/vhd/check.hpp"
#include "disk/vhdx/check.hpp"

#include <algorithm>

namespace croft::disk {

std::string_view to_string(Finding::Severity severity) {
    switch (severity) {
    case Finding::Severity::note:
        return "note";
    case Finding::Severity::damage:
        return "damage";
    case Finding::Severity::loss:
        return "loss";
    }
    return "unknown";
}

bool CheckReport::wants(Finding::Severity severity) const {
    return findings.size() < findings_max || severity > least_;
}

void CheckReport::count(std::uint64_t lost_bytes) {
    ++found;
    lost += lost_bytes;
}

// The worst are shown even if a thousand notes came first.
void CheckReport::add(Finding finding) {
    count(finding.lost);
    if (!wants(finding.severity))
        return;
    if (findings.size() < findings_max)
        findings.push_back(std::move(finding));
    else
        *std::ranges::min_element(findings, {}, &Finding::severity) = std::move(finding);
    if (findings.size() == findings_max)
        least_ = std::ranges::min_element(findings, {}, &Finding::severity)->severity;
}

bool CheckReport::clean() const {
    return std::ranges::all_of(
        findings, [](const Finding& f) { return f.severity == Finding::Severity::note; });
}

namespace {

Result<CheckReport> dispatch(Image& image, bool mend) {
    if (auto* vhdx = dynamic_cast<vhdx::VhdxImage*>(&image))
        return vhdx::check(*vhdx, mend);
    if (auto* dynamic = dynamic_cast<vhd::DynamicImage*>(&image))
        return vhd::check(*dynamic, mend);
    return CheckReport{}; // all of a flat image is payload
}

Result<CheckReport> run(Image& image, bool mend) {
    auto report = dispatch(image, mend);
    if (!report)
        return report;
    for (const std::string& note : image.notes())
        report->add({Finding::Severity::note, 0, note, 0, false});
    return report;
}

} // namespace

Result<CheckReport> check(Image& image) {
    return run(image, false);
}

Result<CheckReport> repair(Image& image) {
    if (image.info().read_only)
        return std::unexpected(Error::of(
            ErrorCode::read_only, image.store().name(), "the file was opened for reading"));
    return run(image, true);
}

} // namespace croft::disk
