// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/disk/memory_store.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <span>

namespace croft::disk::fuzz {

// Takes the fuzzer's bytes apart.
class Input {
public:
    Input(const std::uint8_t* data, std::size_t size) : bytes_{data, size} {}

    bool empty() const { return bytes_.empty(); }
    std::uint8_t byte() {
        if (bytes_.empty())
            return 0;
        const std::uint8_t value = bytes_.front();
        bytes_ = bytes_.subspan(1);
        return value;
    }
    std::uint32_t word() {
        std::uint32_t value = 0;
        for (unsigned i = 0; i < 3; ++i)
            value = value << 8U | byte();
        return value;
    }
    std::span<const std::byte> take(std::size_t count) {
        const auto some = bytes_.first(std::min(count, bytes_.size()));
        bytes_ = bytes_.subspan(some.size());
        return std::as_bytes(some);
    }

private:
    std::span<const std::uint8_t> bytes_;
};

// Puts up to 15 pieces of the input over a file: each an area, a place in it, and some bytes.
template <std::size_t Areas>
void patch(test::SparseBytes& file, Input& input, const std::array<Store::Range, Areas>& areas) {
    for (unsigned count = input.byte() % 16U; count > 0 && !input.empty(); --count) {
        const Store::Range& area = areas[input.byte() % Areas];
        const std::uint64_t offset = area.offset + input.word() % area.length;
        file.write(offset, input.take(1U + input.byte() % 64U));
    }
}

// Opens what is in the file, looks at everything and changes something. Whatever is wrong has to
// come back as an error.
void exercise(const std::shared_ptr<test::MemoryStore::Contents>& contents, bool write);

} // namespace croft::disk::fuzz
