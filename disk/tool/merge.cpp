// SPDX-License-Identifier: Apache-2.0
#include "disk/tool/merge.hpp"

#include "disk/open.hpp"
#include "disk/tool/announce.hpp"
#include "disk/tool/own.hpp"
#include "disk/vhd/create.hpp"
#include "disk/vhd/dynamic_image.hpp"
#include "disk/vhdx/image.hpp"

#include <algorithm>

namespace croft::disk::tool {

namespace {

constexpr std::size_t buffer_size = 1U << 20U;

std::string path_of(const Image& image) {
    return image.store().name();
}

} // namespace

Result<std::string> merge(
    const std::string& child, std::optional<Format> format, const Progress& progress) {
    std::string parent_path;
    {
        auto chain = open_chain(child, {.format = format});
        if (!chain)
            return std::unexpected(std::move(chain).error());
        if ((*chain)->images().size() < 2)
            return std::unexpected(
                Error::of(ErrorCode::invalid_argument, child, "has no parent to merge into"));
        parent_path = path_of(*(*chain)->images()[1]);
    }
    auto from = open_chain(child, {.write = true, .format = format, .with_parents = false});
    if (!from)
        return std::unexpected(std::move(from).error());
    auto to = open_chain(parent_path, {.write = true, .format = (*from)->top().info().format});
    if (!to)
        return std::unexpected(std::move(to).error());
    CROFT_DISK_TRY(announce((*from)->top(), (*to)->top()));
    CROFT_DISK_TRY((*from)->flush());
    CROFT_DISK_TRY(make_as_large((*from)->top(), (*to)->images()));
    CROFT_DISK_TRY(copy_own_contents(**from, **to, progress));
    CROFT_DISK_TRY((*to)->close());
    CROFT_DISK_TRY((*from)->close());
    return parent_path;
}

Result<void> rebase(const std::string& child, std::optional<Format> format,
    const std::string& parent, bool only_locator, const Progress& progress) {
    auto opened =
        open_chain(child, {.write = true, .format = format, .with_parents = !only_locator});
    if (!opened)
        return std::unexpected(std::move(opened).error());
    Chain& chain = **opened;
    const ImageInfo& info = chain.top().info();
    if (info.allocation != Allocation::differencing)
        return std::unexpected(
            Error::of(ErrorCode::invalid_argument, child, "not a differencing disk"));
    auto next = open_chain(parent, {});
    if (!next)
        return std::unexpected(std::move(next).error());
    if ((*next)->top().info().format != info.format ||
        (*next)->top().info().logical_sector_size != info.logical_sector_size)
        return std::unexpected(Error::of(
            ErrorCode::invalid_argument, parent, "its format or sector size is not the child's"));
    std::vector<std::byte> old_bytes(buffer_size);
    std::vector<std::byte> new_bytes(buffer_size);
    for (std::uint64_t offset = 0; !only_locator && offset < chain.size();) {
        const std::uint64_t wanted = std::min<std::uint64_t>(buffer_size, chain.size() - offset);
        auto place = chain.locate(offset, wanted);
        if (!place)
            return std::unexpected(std::move(place).error());
        const auto length = static_cast<std::size_t>(place->extent.length);
        if (place->image != nullptr)
            place->image->finish(place->extent, Image::Outcome::was_read);
        if (place->image != &chain.top()) {
            const auto before = std::span{old_bytes}.first(length);
            const auto after = std::span{new_bytes}.first(length);
            CROFT_DISK_TRY(chain.read(offset, before));
            std::ranges::fill(after, std::byte{0});
            if (offset < (*next)->size())
                CROFT_DISK_TRY((*next)->read(offset,
                    after.first(std::min<std::uint64_t>(length, (*next)->size() - offset))));
            if (!std::ranges::equal(before, after))
                CROFT_DISK_TRY(chain.write(offset, before));
        }
        offset += length;
        CROFT_DISK_TRY(report(progress, child, offset, chain.size()));
    }
    CROFT_DISK_TRY(chain.flush());
    const std::string identity = (*next)->top().info().identity;
    const std::string relative = windows_relative_path(child, parent);
    const std::string absolute = windows_absolute_path(parent);
    if (auto* vhdx = dynamic_cast<vhdx::VhdxImage*>(&chain.top())) {
        CROFT_DISK_TRY(vhdx->set_parent_locator({{"parent_linkage", "{" + identity + "}"},
            {"relative_path", relative}, {"absolute_win32_path", absolute}}));
    } else if (auto* vhd = dynamic_cast<vhd::DynamicImage*>(&chain.top())) {
        const auto modified = (*next)->top().store().modified();
        CROFT_DISK_TRY(vhd->set_parent(Guid::parse(identity).value_or(Guid{}),
            modified ? vhd::time_stamp_of(*modified) : 0, relative, absolute));
    }
    return chain.close();
}

Result<std::optional<Difference>> compare(
    const Compared& first, const Compared& second, bool strict, const Progress& progress) {
    auto one = open_chain(first.path, {.format = first.format});
    if (!one)
        return std::unexpected(std::move(one).error());
    auto other = open_chain(second.path, {.format = second.format});
    if (!other)
        return std::unexpected(std::move(other).error());
    const std::uint64_t size = std::max((*one)->size(), (*other)->size());
    if (strict && (*one)->size() != (*other)->size())
        return Difference{std::min((*one)->size(), (*other)->size()), true};
    std::vector<std::byte> ours(buffer_size);
    std::vector<std::byte> theirs(buffer_size);
    // Both are asked for whole sectors, which need not be of the same size.
    const std::uint64_t unit = std::max(
        (*one)->top().info().logical_sector_size, (*other)->top().info().logical_sector_size);
    // Answers whether the piece is zeros for certain, and shortens it to what is known.
    const auto known_zeros = [&](Chain& chain, std::uint64_t offset,
                                 std::uint64_t& length) -> Result<bool> {
        if (offset >= chain.size())
            return true;
        const std::uint64_t whole = (length + unit - 1) / unit * unit;
        auto place = chain.locate(offset, std::min(whole, chain.size() - offset));
        if (!place)
            return std::unexpected(std::move(place).error());
        length = std::min(length, place->extent.length);
        if (place->image != nullptr)
            place->image->finish(place->extent, Image::Outcome::was_read);
        return place->image == nullptr;
    };
    // What is beyond the end counts as zeros.
    const auto read = [](Chain& chain, std::uint64_t offset, std::span<std::byte> bytes) {
        const std::uint64_t there =
            std::min<std::uint64_t>(bytes.size(), chain.size() - std::min(chain.size(), offset));
        std::ranges::fill(bytes.subspan(there), std::byte{0});
        return there != 0 ? chain.read(offset, bytes.first(there)) : Result<void>{};
    };
    for (std::uint64_t offset = 0; offset < size;) {
        std::uint64_t length = size - offset;
        const auto left = known_zeros(**one, offset, length);
        const auto right = left ? known_zeros(**other, offset, length) : left;
        if (!right)
            return std::unexpected(right.error());
        const bool skipped = *left && *right && length >= std::min(unit, size - offset);
        if (length < size - offset)
            length = std::max(length / unit * unit, std::min(unit, size - offset));
        if (!skipped) {
            length = std::min<std::uint64_t>(length, buffer_size);
            const auto a = std::span{ours}.first(static_cast<std::size_t>(length));
            const auto b = std::span{theirs}.first(static_cast<std::size_t>(length));
            CROFT_DISK_TRY(read(**one, offset, a));
            CROFT_DISK_TRY(read(**other, offset, b));
            if (const auto [x, y] = std::ranges::mismatch(a, b); x != a.end())
                return Difference{offset + static_cast<std::uint64_t>(x - a.begin()), false};
        }
        offset += length;
        CROFT_DISK_TRY(report(progress, first.path, offset, size));
    }
    return std::optional<Difference>{};
}

} // namespace croft::disk::tool
