// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/store.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace croft::disk::tool {

// A piece of a file as it lies in the page cache: to be looked at, and written elsewhere, without
// having been copied out before. Zeros are found by looking at little more than what is zeros.
class Window final {
public:
    // Empty where that can't be had: no file, or a part of it can't be read. read() then tells why.
    Window(const Store& store, std::uint64_t offset, std::size_t length);
    Window(const Window&) = delete;
    Window& operator=(const Window&) = delete;
    ~Window();

    std::span<const std::byte> bytes() const { return bytes_; }

private:
    void* mapping_ = nullptr;
    std::size_t mapped_ = 0;
    std::span<const std::byte> bytes_;
};

} // namespace croft::disk::tool
