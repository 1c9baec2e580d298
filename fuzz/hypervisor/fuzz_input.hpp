// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>

namespace hypervisor::fuzz {

/// Takes a fuzzer's bytes one value after the other; after their end, zeros.
class FuzzInput final {
public:
    FuzzInput(const std::uint8_t* data, std::size_t size) : bytes_(data, size) {}

    [[nodiscard]] bool empty() const { return bytes_.empty(); }
    [[nodiscard]] std::span<const std::uint8_t> rest() const { return bytes_; }

    template <std::unsigned_integral Value>
    Value take() {
        Value value = 0;
        for (std::size_t index = 0; index < sizeof(Value) && !bytes_.empty(); ++index) {
            value = Value(value | Value(bytes_.front()) << (8 * index));
            bytes_ = bytes_.subspan(1);
        }
        return value;
    }

private:
    std::span<const std::uint8_t> bytes_;
};

inline void require(bool condition, const char* what) {
    if (!condition) {
        std::fprintf(stderr, "violated: %s\n", what);
        std::abort();
    }
}

} // namespace hypervisor::fuzz
