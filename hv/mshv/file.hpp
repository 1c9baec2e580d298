// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace croft::hv::mshv {

/// An open file of the driver: the device, a partition or a VP.
class File {
public:
    File() = default;
    explicit File(int descriptor) : descriptor_(descriptor) {}
    File(File&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
    File& operator=(File&& other) noexcept;
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    ~File();

    [[nodiscard]] int descriptor() const { return descriptor_; }

    /// One request; answers what ioctl does. Errors: HypervisorError that says `what` failed.
    int request(std::string_view what, unsigned long number, void* argument) const;
    int request(std::string_view what, unsigned long number, std::uint64_t argument) const;

    /// A simple hypercall that the driver passes on (MSHV_ROOT_HVCALL); it fills in the partition
    /// id that the input begins with. Errors: HypervisorError with the hypercall's status.
    void hypercall(std::string_view what, std::uint16_t code, std::span<const std::byte> input,
        std::span<std::byte> output = {}) const;

    /// The same for one that repeats; `reps` at most what fits into a page.
    void rep_hypercall(std::string_view what, std::uint16_t code, std::uint16_t reps,
        std::span<const std::byte> input, std::span<std::byte> output = {}) const;

    template <typename Input>
    void call(std::string_view what, std::uint16_t code, const Input& input) const {
        hypercall(what, code, std::as_bytes(std::span(&input, 1)));
    }
    template <typename Input, typename Output>
    void call(std::string_view what, std::uint16_t code, const Input& input, Output& output) const {
        hypercall(what, code, std::as_bytes(std::span(&input, 1)),
            std::as_writable_bytes(std::span(&output, 1)));
    }

private:
    int descriptor_ = -1;
};

/// The driver's device. Errors: HypervisorError that says what to do.
[[nodiscard]] File open_device(const std::string& path);

/// The name of an HV_STATUS_ code, or its number.
[[nodiscard]] std::string status_name(std::uint16_t status);

} // namespace croft::hv::mshv
