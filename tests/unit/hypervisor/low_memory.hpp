// SPDX-License-Identifier: Apache-2.0
// Memory below 4 GiB, for structures that hold addresses of 32 bits. Behind it nothing is mapped:
// to read too far is to crash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <sys/mman.h>

namespace hypervisor {

class LowMemory final {
public:
    explicit LowMemory(std::size_t size)
        : size_{(size + 4095) / 4096 * 4096},
          // One page more, without access.
          at_{::mmap(
              nullptr, size_ + 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0)} {
        if (at_ == MAP_FAILED || ::mprotect(at_, size_, PROT_READ | PROT_WRITE) != 0) {
            throw std::runtime_error{"no memory below 4 GiB"};
        }
    }
    ~LowMemory() { ::munmap(at_, size_ + 4096); }
    LowMemory(const LowMemory&) = delete;
    LowMemory& operator=(const LowMemory&) = delete;

    [[nodiscard]] std::uint64_t address() const { return reinterpret_cast<std::uint64_t>(at_); }
    [[nodiscard]] std::uint64_t end() const { return address() + size_; }
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] std::uint8_t* bytes() const { return static_cast<std::uint8_t*>(at_); }

    template <class T>
    void put(std::uint64_t where, T value) const {
        std::memcpy(reinterpret_cast<void*>(where), &value, sizeof value);
    }
    void put_text(std::uint64_t where, std::string_view text) const {
        std::memcpy(reinterpret_cast<void*>(where), text.data(), text.size());
    }

private:
    std::size_t size_;
    void* at_;
};

} // namespace hypervisor
