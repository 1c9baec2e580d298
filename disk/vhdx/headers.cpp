// SPDX-License-Identifier: Apache-2.0
#include "disk/vhdx/headers.hpp"

#include "disk/crc32c.hpp"
#include "disk/utf16.hpp"

#include <fmt/format.h>
#include <optional>

namespace croft::disk::vhdx {

namespace {

// What is wrong with a header, or nothing.
std::string defect_of(const Header& header, std::uint64_t file_size) {
    if (header.signature != header_signature)
        return fmt::format("header signature: found {:#x}, expected {:#x}", header.signature.get(),
            header_signature);
    if (const auto expected = Headers::sealed(header).checksum; header.checksum != expected)
        return fmt::format(
            "header checksum: found {:#x}, expected {:#x}", header.checksum.get(), expected.get());
    if (header.version != supported_version)
        return fmt::format(
            "header version: found {}, expected {}", header.version.get(), supported_version);
    if (header.log_version != supported_log_version)
        return fmt::format(
            "log version: found {}, expected {}", header.log_version.get(), supported_log_version);
    if (header.log_offset % mebibyte != 0 || header.log_length % mebibyte != 0 ||
        header.log_offset < header_section_size || header.log_length == 0 ||
        header.log_offset > file_size || header.log_length > file_size - header.log_offset)
        return fmt::format("log: found {} bytes at {}, expected whole MiB within the file of {} "
                           "bytes, from 1 MiB on",
            header.log_length.get(), header.log_offset.get(), file_size);
    return {};
}

} // namespace

Header Headers::sealed(Header header) {
    header.checksum = 0;
    header.checksum = crc32c(0, bytes_of(header));
    return header;
}

Result<Headers> Headers::read(Store& store) {
    FileIdentifier identifier{};
    CROFT_DISK_TRY(
        store.read(file_identifier_offset, std::as_writable_bytes(std::span{&identifier, 1})));
    if (identifier.signature != file_signature)
        return std::unexpected(Error::corrupt(store.name(), file_identifier_offset,
            fmt::format(
                "file signature: found {:#x}, expected \"vhdxfile\"", identifier.signature.get())));
    Headers headers;
    headers.creator_ = utf8_from_utf16(identifier.creator);
    std::string defects;
    bool any = false;
    for (std::size_t slot = 0; slot < header_offsets.size(); ++slot) {
        Header header{};
        CROFT_DISK_TRY(
            store.read(header_offsets[slot], std::as_writable_bytes(std::span{&header, 1})));
        if (const std::string defect = defect_of(header, store.size()); !defect.empty()) {
            defects += (defects.empty() ? "" : "; ") + defect;
            headers.damaged_.push_back(header_offsets[slot]);
            continue;
        }
        if (any && header.sequence_number <= headers.current_.sequence_number)
            continue;
        any = true;
        headers.current_ = header;
        headers.slot_ = slot;
    }
    if (!any)
        return std::unexpected(
            Error::corrupt(store.name(), header_offsets[0], "neither header is valid: " + defects));
    return headers;
}

Result<void> Headers::update(Store& store, Header changed) {
    changed.sequence_number = current_.sequence_number + 1;
    changed = sealed(changed);
    const std::size_t slot = 1 - slot_;
    CROFT_DISK_TRY(store.write(header_offsets[slot], bytes_of(changed)));
    current_ = changed;
    slot_ = slot;
    return {};
}

} // namespace croft::disk::vhdx
