// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/error.hpp"
#include "worker/loader/boot_image.hpp"

#include <array>
#include <cstring>
#include <fmt/format.h>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

/// What the loaders share.
namespace croft::worker {

constexpr std::uint64_t boot_page = 4096;

/// The bytes of a file, read field by field with its bounds checked.
class ImageReader {
public:
    explicit ImageReader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

    [[nodiscard]] std::uint64_t size() const { return bytes_.size(); }

    /// The value at an offset, if the file reaches that far.
    template <typename T>
    requires(std::is_trivially_copyable_v<T>)
        [[nodiscard]] std::optional<T> at(std::uint64_t offset) const {
        if (offset > bytes_.size() || bytes_.size() - offset < sizeof(T)) {
            return std::nullopt;
        }
        T value;
        std::memcpy(&value, bytes_.data() + offset, sizeof(T));
        return value;
    }

    /// A part of the file, if all of it is there.
    [[nodiscard]] std::optional<std::span<const std::uint8_t>> part(
        std::uint64_t offset, std::uint64_t size) const {
        if (offset > bytes_.size() || bytes_.size() - offset < size) {
            return std::nullopt;
        }
        return bytes_.subspan(offset, size);
    }

private:
    std::span<const std::uint8_t> bytes_;
};

/// A kernel file that isn't as it should be.
[[noreturn]] inline void refuse_kernel(
    const BootRequest& request, std::string_view found, std::string_view expected) {
    throw LoadError(
        fmt::format("kernel {}: found {}, expected {}; give a Linux bzImage or an ELF file "
                    "with a PVH entry as --kernel",
            request.kernel_name, found, expected));
}

/// Writes to memory that has been checked to be there.
void put(GuestMemory& memory, std::uint64_t gpa, std::span<const std::uint8_t> bytes);

template <typename T>
requires(std::is_trivially_copyable_v<T>) void put_value(
    GuestMemory& memory, std::uint64_t gpa, const T& value) {
    std::array<std::uint8_t, sizeof(T)> bytes;
    std::memcpy(bytes.data(), &value, sizeof(T));
    put(memory, gpa, bytes);
}

/// Puts the command line and its final zero at BootArea::command_line. `longest` is what the kernel
/// takes, without the zero. Errors: LoadError if it is longer.
void put_command_line(const BootRequest& request, std::uint64_t longest, GuestMemory& memory);

/// Puts the initial RAM disk as high as possible below `limit` and above `kernel_end`, and answers
/// its address; 0 if there is none. Errors: LoadError if it doesn't fit.
[[nodiscard]] std::uint64_t put_initial_ram_disk(
    const BootRequest& request, std::uint64_t kernel_end, std::uint64_t limit, GuestMemory& memory);

} // namespace croft::worker
