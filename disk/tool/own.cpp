// SPDX-License-Identifier: Apache-2.0
#include "disk/tool/own.hpp"

#include "disk/tool/zeros.hpp"

#include <algorithm>
#include <vector>

namespace croft::disk::tool {

namespace {

constexpr std::size_t own_buffer_size = 2U << 20U;

} // namespace

Result<void> for_each_own_range(Chain& chain,
    const std::function<Result<void>(const Extent&)>& visit, const Progress& progress) {
    Image& image = chain.top();
    const std::uint64_t size = image.size();
    for (std::uint64_t offset = 0; offset < size;) {
        const Extent extent = image.find(offset, size - offset);
        if (extent.where == Extent::Where::absent) {
            CROFT_DISK_TRY(image.prepare(extent.offset, extent.length, Image::Access::read));
            continue;
        }
        Result<void> outcome;
        if (extent.where == Extent::Where::data ||
            (extent.where == Extent::Where::zero &&
                image.info().allocation == Allocation::differencing))
            outcome = visit(extent);
        image.finish(extent, Image::Outcome::was_read);
        CROFT_DISK_TRY(std::move(outcome));
        offset += extent.length;
        CROFT_DISK_TRY(report(progress, image.store().name(), offset, size));
    }
    return {};
}

Result<void> copy_own_contents(Chain& source, Chain& target, const Progress& progress) {
    std::vector<std::byte> buffer(own_buffer_size);
    Store& store = source.top().store();
    const bool keep_zeros = source.top().info().allocation == Allocation::differencing;
    const auto copy = [&](const Extent& extent) -> Result<void> {
        if (extent.where == Extent::Where::zero)
            return target.write_zeroes(extent.offset, extent.length);
        for (std::uint64_t done = 0; done < extent.length;) {
            const auto bytes = std::span{buffer}.first(static_cast<std::size_t>(
                std::min<std::uint64_t>(buffer.size(), extent.length - done)));
            CROFT_DISK_TRY(store.read(extent.store_offset + done, bytes));
            for (std::size_t at = 0; at < bytes.size();) {
                const auto unit = bytes.subspan(
                    at, keep_zeros ? bytes.size() - at : std::min(zero_unit, bytes.size() - at));
                if (keep_zeros || !all_zeros(unit))
                    CROFT_DISK_TRY(target.write(extent.offset + done + at, unit));
                at += unit.size();
            }
            done += bytes.size();
        }
        return {};
    };
    return for_each_own_range(source, copy, progress);
}

} // namespace croft::disk::tool
