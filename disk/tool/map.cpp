// SPDX-License-Identifier: Apache-2.0
#include "disk/tool/map.hpp"

#include "disk/tool/data_runs.hpp"

#include <algorithm>
#include <optional>
#include <vector>

namespace croft::disk::tool {

namespace {

// Puts neighbours together.
class Joiner {
public:
    explicit Joiner(const std::function<Result<void>(const MapRange&)>& visit) : visit_{visit} {}

    Result<void> add(const MapRange& range) {
        if (last_ && last_->data == range.data && last_->depth == range.depth &&
            (!range.data || last_->store_offset + last_->length == range.store_offset)) {
            last_->length += range.length;
            return {};
        }
        CROFT_DISK_TRY(finish());
        last_ = range;
        return {};
    }
    Result<void> finish() {
        if (!last_)
            return {};
        const MapRange range = *last_;
        last_.reset();
        return visit_(range);
    }

private:
    const std::function<Result<void>(const MapRange&)>& visit_;
    std::optional<MapRange> last_;
};

} // namespace

Result<void> for_each_range(
    Chain& chain, const std::function<Result<void>(const MapRange&)>& visit) {
    Joiner joiner{visit};
    std::vector<DataRuns> runs(chain.images().size());
    for (std::uint64_t offset = 0; offset < chain.size();) {
        const auto place = chain.locate(offset, chain.size() - offset);
        if (!place)
            return std::unexpected(place.error());
        const Extent& extent = place->extent;
        offset += extent.length;
        if (place->image == nullptr) {
            CROFT_DISK_TRY(joiner.add({extent.offset, extent.length, false, 0, 0}));
            continue;
        }
        const auto depth =
            static_cast<std::size_t>(std::ranges::find(chain.images(), place->image,
                                         [](const auto& image) { return image.get(); }) -
                chain.images().begin());
        place->image->finish(extent, Image::Outcome::was_read);
        const std::uint64_t end = extent.store_offset + extent.length;
        const auto in_disk = [&extent](std::uint64_t at) {
            return extent.offset + (at - extent.store_offset);
        };
        for (std::uint64_t at = extent.store_offset; at < end;) {
            const auto data = runs[depth].next(place->image->store(), at, end);
            const std::uint64_t hole_end = data.length == 0 ? end : data.offset;
            if (hole_end > at)
                CROFT_DISK_TRY(joiner.add({in_disk(at), hole_end - at, false, 0, 0}));
            if (data.length != 0)
                CROFT_DISK_TRY(
                    joiner.add({in_disk(data.offset), data.length, true, depth, data.offset}));
            at = hole_end + data.length;
        }
    }
    return joiner.finish();
}

} // namespace croft::disk::tool
