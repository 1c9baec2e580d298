// SPDX-License-Identifier: Apache-2.0
//
// Messages between bus and service: what can be read is what would be written.
#include "vmbus/remote/message.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace croft::vmbus;
    for (std::size_t count = 0; count <= remote::most_descriptors; ++count) {
        const std::span<const std::uint8_t> bytes(data, size);
        const auto message = remote::decode(bytes, std::vector<Descriptor>(count));
        if (message && !std::ranges::equal(remote::encode(*message), bytes)) {
            std::abort();
        }
    }
    return 0;
}
