// SPDX-License-Identifier: Apache-2.0
#include "disk/vhdx/metadata.hpp"

#include "disk/utf16.hpp"

#include <algorithm>
#include <bit>
#include <fmt/format.h>

namespace croft::disk::vhdx {

namespace {

// Reads one metadata region, item by item.
class Reader {
public:
    Reader(Store& store, const Regions::Region& region, const Replay& replay)
        : store_{store},
          region_{region},
          replay_{replay} {}

    Result<Metadata> read();

private:
    Result<void> read_table();
    Result<void> check_entry(const MetadataTableEntry& entry, std::uint64_t at) const;
    Result<void> take(const MetadataTableEntry& entry);
    Result<void> take_parent_locator(std::span<const std::byte> item, std::uint64_t at);
    Result<void> check_values() const;
    std::unexpected<Error> corrupt(std::uint64_t offset, std::string what) const {
        return std::unexpected(Error::corrupt(store_.name(), offset, std::move(what)));
    }

    Store& store_;
    const Regions::Region& region_;
    const Replay& replay_;
    std::vector<MetadataTableEntry> entries_;
    std::vector<Guid> seen_;
    Metadata metadata_;
};

struct Known {
    Guid id;
    std::uint32_t length; // 0: any
    std::string_view name;
};
constexpr std::array<Known, 6> known_items{{
    {file_parameters_item, sizeof(FileParameters), "file parameters"},
    {virtual_disk_size_item, 8, "virtual disk size"},
    {virtual_disk_id_item, sizeof(Guid), "virtual disk id"},
    {logical_sector_size_item, 4, "logical sector size"},
    {physical_sector_size_item, 4, "physical sector size"},
    {parent_locator_item, 0, "parent locator"},
}};

const Known* known_item(const Guid& id) {
    const auto found = std::ranges::find(known_items, id, &Known::id);
    return found == known_items.end() ? nullptr : &*found;
}

Result<void> Reader::read_table() {
    std::vector<std::byte> table(metadata_table_size);
    CROFT_DISK_TRY(store_.read(region_.offset, table));
    replay_.lay_over(region_.offset, table);
    const auto header = load<MetadataTableHeader>(table);
    if (header.signature != metadata_signature)
        return corrupt(region_.offset,
            fmt::format("metadata signature: found {:#x}, expected {:#x}", header.signature.get(),
                metadata_signature));
    if (header.entry_count > metadata_entries_max)
        return corrupt(region_.offset,
            fmt::format("metadata entries: found {}, expected at most {}", header.entry_count.get(),
                metadata_entries_max));
    std::uint64_t needed = metadata_table_size;
    for (std::uint32_t i = 0; i < header.entry_count; ++i) {
        const std::size_t at = sizeof(MetadataTableHeader) + i * sizeof(MetadataTableEntry);
        entries_.push_back(load<MetadataTableEntry>(table, at));
        CROFT_DISK_TRY(check_entry(entries_.back(), region_.offset + at));
        needed += entries_.back().length;
    }
    if (needed > region_.length)
        return corrupt(region_.offset,
            fmt::format("metadata: found items of {} bytes with their table, expected at most the "
                        "region's {}",
                needed, region_.length));
    return {};
}

Result<void> Reader::check_entry(const MetadataTableEntry& entry, std::uint64_t at) const {
    const Known* known = known_item(entry.item_id);
    if (known == nullptr && (entry.flags & metadata_is_required) != 0)
        return std::unexpected(Error::of(ErrorCode::unsupported, store_.name(),
            "metadata item " + entry.item_id.text() + " is required and unknown"));
    const bool empty = entry.length == 0 && entry.offset == 0;
    if (entry.length > metadata_item_max ||
        (!empty &&
            (entry.offset < metadata_table_size || entry.offset > region_.length ||
                entry.length > region_.length - entry.offset)))
        return corrupt(at,
            fmt::format("metadata item {}: found {} bytes at {}, expected them "
                        "between 64 KiB and the region's {} bytes",
                entry.item_id.text(), entry.length.get(), entry.offset.get(), region_.length));
    if (known != nullptr && known->length != 0 && entry.length != known->length)
        return corrupt(at,
            fmt::format(
                "{}: found {} bytes, expected {}", known->name, entry.length.get(), known->length));
    return {};
}

Result<void> Reader::take(const MetadataTableEntry& entry) {
    const std::uint64_t at = region_.offset + entry.offset;
    if (std::ranges::find(seen_, entry.item_id) != seen_.end())
        return corrupt(at, "metadata item " + entry.item_id.text() + " occurs twice");
    seen_.push_back(entry.item_id);
    std::vector<std::byte> item(entry.length);
    CROFT_DISK_TRY(store_.read(at, item));
    replay_.lay_over(at, item);
    if (entry.item_id == file_parameters_item) {
        const auto parameters = load<FileParameters>(item);
        metadata_.block_size = parameters.block_size;
        metadata_.fixed = (parameters.flags & leave_block_allocated) != 0;
        metadata_.differencing = (parameters.flags & has_parent) != 0;
    } else if (entry.item_id == virtual_disk_size_item) {
        metadata_.disk_size = load<Little<std::uint64_t>>(item);
        metadata_.disk_size_offset = at;
    } else if (entry.item_id == virtual_disk_id_item) {
        metadata_.disk_id = load<Guid>(item);
    } else if (entry.item_id == logical_sector_size_item) {
        metadata_.logical_sector_size = load<Little<std::uint32_t>>(item);
    } else if (entry.item_id == physical_sector_size_item) {
        metadata_.physical_sector_size = load<Little<std::uint32_t>>(item);
    } else if (entry.item_id == parent_locator_item) {
        metadata_.parent_locator_offset = at;
        metadata_.parent_locator_length = entry.length;
        return take_parent_locator(item, at);
    }
    return {};
}

Result<void> Reader::take_parent_locator(std::span<const std::byte> item, std::uint64_t at) {
    if (item.size() < sizeof(ParentLocatorHeader))
        return corrupt(at,
            fmt::format("parent locator: found {} bytes, expected at least {}", item.size(),
                sizeof(ParentLocatorHeader)));
    const auto header = load<ParentLocatorHeader>(item);
    if (header.locator_type != vhdx_locator_type)
        return std::unexpected(Error::of(ErrorCode::unsupported, store_.name(),
            "parent locator type " + header.locator_type.text() + " is unknown"));
    const std::size_t table =
        sizeof(ParentLocatorHeader) + header.key_value_count * sizeof(ParentLocatorEntry);
    if (table > item.size())
        return corrupt(at,
            fmt::format("parent locator: found {} keys, which do not fit {} bytes",
                header.key_value_count.get(), item.size()));
    for (std::size_t i = 0; i < header.key_value_count; ++i) {
        const auto entry = load<ParentLocatorEntry>(
            item, sizeof(ParentLocatorHeader) + i * sizeof(ParentLocatorEntry));
        const auto text = [&](std::uint64_t offset, std::uint64_t length) -> Result<std::string> {
            if (offset < table || offset + length > item.size() || length == 0 || length % 2 != 0)
                return corrupt(at,
                    fmt::format("parent locator key {}: found {} bytes at {}", i, length, offset));
            return utf8_from_utf16(item.subspan(offset, length));
        };
        auto key = text(entry.key_offset, entry.key_length);
        auto value = text(entry.value_offset, entry.value_length);
        if (!key || !value)
            return std::unexpected(key ? value.error() : key.error());
        metadata_.parent_locator.emplace_back(*std::move(key), *std::move(value));
    }
    return {};
}

Result<void> Reader::check_values() const {
    const Metadata& m = metadata_;
    const std::uint64_t at = region_.offset;
    for (const Known& known : known_items) {
        const bool needed = known.id != parent_locator_item || m.differencing;
        if (needed && std::ranges::find(seen_, known.id) == seen_.end())
            return corrupt(at, fmt::format("metadata: found no {}", known.name));
    }
    if (!std::has_single_bit(m.block_size) || m.block_size < block_size_min ||
        m.block_size > block_size_max)
        return corrupt(at,
            fmt::format("block size: found {}, expected a power of two from 1 MiB to "
                        "256 MiB",
                m.block_size));
    for (const std::uint32_t size : {m.logical_sector_size, m.physical_sector_size}) {
        if (size != 512 && size != 4096)
            return corrupt(at, fmt::format("sector size: found {}, expected 512 or 4096", size));
    }
    if (m.disk_size == 0 || m.disk_size > disk_size_max || m.disk_size % m.logical_sector_size != 0)
        return corrupt(at,
            fmt::format("virtual disk size: found {}, expected a multiple of {} up to "
                        "64 TiB",
                m.disk_size, m.logical_sector_size));
    return {};
}

Result<Metadata> Reader::read() {
    CROFT_DISK_TRY(read_table());
    for (const MetadataTableEntry& entry : entries_) {
        if (known_item(entry.item_id) != nullptr)
            CROFT_DISK_TRY(take(entry));
        else
            metadata_.unknown.push_back(
                {entry.item_id, region_.offset + entry.offset, entry.length, entry.flags});
    }
    CROFT_DISK_TRY(check_values());
    return std::move(metadata_);
}

} // namespace

std::string_view Metadata::locator(std::string_view key) const {
    for (const auto& [name, value] : parent_locator) {
        if (name == key)
            return value;
    }
    return {};
}

Result<Metadata> Metadata::read(Store& store, const Regions::Region& region, const Replay& replay) {
    return Reader{store, region, replay}.read();
}

std::vector<std::byte> make_parent_locator(
    const std::vector<std::pair<std::string, std::string>>& pairs) {
    std::vector<std::byte> item(
        sizeof(ParentLocatorHeader) + pairs.size() * sizeof(ParentLocatorEntry));
    save(item, 0,
        ParentLocatorHeader{
            vhdx_locator_type, std::uint16_t{0}, static_cast<std::uint16_t>(pairs.size())});
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        ParentLocatorEntry entry;
        const auto append = [&item](const std::string& text, auto& offset, auto& length) {
            const std::vector<std::byte> bytes = utf16_from_utf8(text);
            offset = static_cast<std::uint32_t>(item.size());
            length = static_cast<std::uint16_t>(bytes.size());
            item.insert(item.end(), bytes.begin(), bytes.end());
        };
        append(pairs[i].first, entry.key_offset, entry.key_length);
        append(pairs[i].second, entry.value_offset, entry.value_length);
        save(item, sizeof(ParentLocatorHeader) + i * sizeof entry, entry);
    }
    return item;
}

MetadataRegion make_metadata_region(const Metadata& metadata) {
    MetadataRegion region;
    std::vector<std::byte> table(metadata_table_size);
    std::uint16_t count = 0;
    std::uint64_t next = metadata_table_size;
    const auto enter = [&](const Guid& id, std::uint32_t length, std::uint32_t flags) {
        const std::uint64_t at = next;
        save(table, sizeof(MetadataTableHeader) + count * sizeof(MetadataTableEntry),
            MetadataTableEntry{id, static_cast<std::uint32_t>(length == 0 ? 0 : at), length, flags,
                std::uint32_t{0}});
        next += (length + 7ULL) / 8 * 8;
        ++count;
        return at;
    };
    const auto add = [&](const Guid& id, std::span<const std::byte> item, std::uint32_t flags) {
        const std::uint64_t at =
            enter(id, static_cast<std::uint32_t>(item.size()), flags | metadata_is_required);
        region.pieces.push_back({at, {item.begin(), item.end()}});
    };
    const FileParameters parameters{metadata.block_size,
        (metadata.fixed ? leave_block_allocated : 0) | (metadata.differencing ? has_parent : 0)};
    const Little<std::uint64_t> size{metadata.disk_size};
    const Little<std::uint32_t> logical{metadata.logical_sector_size};
    const Little<std::uint32_t> physical{metadata.physical_sector_size};
    add(file_parameters_item, bytes_of(parameters), 0);
    add(virtual_disk_size_item, bytes_of(size), metadata_is_virtual_disk);
    add(virtual_disk_id_item, bytes_of(metadata.disk_id), metadata_is_virtual_disk);
    add(logical_sector_size_item, bytes_of(logical), metadata_is_virtual_disk);
    add(physical_sector_size_item, bytes_of(physical), metadata_is_virtual_disk);
    for (const UnknownItem& item : metadata.unknown)
        region.unknown_at.push_back(enter(item.id, item.length, item.flags));
    if (metadata.differencing) // last: a new parent's locator may need more room
        add(parent_locator_item, make_parent_locator(metadata.parent_locator), 0);
    MetadataTableHeader header{};
    header.signature = metadata_signature;
    header.entry_count = count;
    save(table, 0, header);
    region.pieces.push_back({0, std::move(table)});
    region.length = static_cast<std::uint32_t>((next + mebibyte - 1) / mebibyte * mebibyte);
    return region;
}

} // namespace croft::disk::vhdx
