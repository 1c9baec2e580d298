// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>

namespace croft::disk {

// An integer as it lies in a file: in a stated byte order, at any alignment.
template <std::unsigned_integral Integer, std::endian order>
class Stored {
public:
    constexpr Stored() = default;
    constexpr Stored(Integer value) { *this = value; } // NOLINT(google-explicit-constructor)

    constexpr Stored& operator=(Integer value) {
        bytes_ = std::bit_cast<Bytes>(in_order(value));
        return *this;
    }
    constexpr operator Integer() const { // NOLINT(google-explicit-constructor)
        return in_order(std::bit_cast<Integer>(bytes_));
    }
    constexpr Integer get() const { return *this; }

private:
    using Bytes = std::array<std::byte, sizeof(Integer)>;

    static constexpr Integer in_order(Integer value) {
        if constexpr (order == std::endian::native) {
            return value;
        } else {
            auto bytes = std::bit_cast<Bytes>(value);
            for (std::size_t i = 0; i < bytes.size() / 2; ++i)
                std::swap(bytes[i], bytes[bytes.size() - 1 - i]);
            return std::bit_cast<Integer>(bytes);
        }
    }

    Bytes bytes_{};
};

template <std::unsigned_integral Integer>
using Little = Stored<Integer, std::endian::little>;
template <std::unsigned_integral Integer>
using Big = Stored<Integer, std::endian::big>;

// The structure that begins `offset` bytes into `bytes`; the caller has checked that it fits.
template <class Structure>
requires std::is_trivially_copyable_v<Structure> Structure load(
    std::span<const std::byte> bytes, std::size_t offset = 0) {
    Structure structure;
    std::memcpy(&structure, bytes.subspan(offset, sizeof structure).data(), sizeof structure);
    return structure;
}

template <class Structure>
requires std::is_trivially_copyable_v<Structure>
void save(std::span<std::byte> bytes, std::size_t offset, const Structure& structure) {
    std::memcpy(bytes.subspan(offset, sizeof structure).data(), &structure, sizeof structure);
}

template <class Structure>
requires std::is_trivially_copyable_v<Structure> std::span<const std::byte> bytes_of(
    const Structure& structure) {
    return std::as_bytes(std::span{&structure, 1});
}

} // namespace croft::disk
