// SPDX-License-Identifier: Apache-2.0
#include "disk/store.hpp"

namespace croft::disk {

std::uint64_t Store::count_data(std::uint64_t offset, std::uint64_t end) {
    std::uint64_t count = 0;
    while (offset < end) {
        const Range data = next_data(offset, end);
        if (data.length == 0)
            break;
        count += data.length;
        offset = data.offset + data.length;
    }
    return count;
}

} // namespace croft::disk
