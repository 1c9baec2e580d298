// SPDX-License-Identifier: Apache-2.0
#include "vsp/storage/scsi/unmap.hpp"

#include "vsp/storage/scsi/limits.hpp"

#include <cstddef>

namespace croft::vsp::storage::scsi {

std::expected<std::vector<Blocks>, Sense> parse_unmap(
    std::span<const std::uint8_t> parameters, std::uint64_t block_count) {
    constexpr std::size_t header_size = 8;
    constexpr std::size_t descriptor_size = 16;
    if (parameters.size() < header_size) {
        return std::unexpected(parameter_list_length_error);
    }
    const std::uint64_t descriptors = get_be(parameters, 2, 2) / descriptor_size;
    if (descriptors > most_unmap_ranges ||
        header_size + descriptors * descriptor_size > parameters.size()) {
        return std::unexpected(invalid_field_in_parameter_list);
    }
    std::vector<Blocks> ranges;
    for (std::size_t i = 0; i < descriptors; ++i) {
        const std::size_t at = header_size + i * descriptor_size;
        const Blocks range{get_be(parameters, at, 8), get_be(parameters, at + 8, 4)};
        if (range.first > block_count || range.count > block_count - range.first) {
            return std::unexpected(lba_out_of_range);
        }
        if (range.count != 0) {
            ranges.push_back(range);
        }
    }
    return ranges;
}

} // namespace croft::vsp::storage::scsi
