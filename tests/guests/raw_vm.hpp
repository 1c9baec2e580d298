// SPDX-License-Identifier: Apache-2.0
// The driver's files without the hv library between: what other people's programs do with them.
#pragma once

#include "hv/abi.hpp"
#include "hv/mshv/file.hpp"
#include "hv/mshv/ioctl.hpp"
#include "hv/register.hpp"
#include "tests/guests/guest_machine.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace croft::guests {

/// Page-aligned memory.
class RawMemory {
public:
    explicit RawMemory(std::size_t size);
    ~RawMemory();
    RawMemory(const RawMemory&) = delete;
    RawMemory& operator=(const RawMemory&) = delete;
    [[nodiscard]] std::uint8_t* data() const { return data_; }
    [[nodiscard]] std::size_t size() const { return size_; }
    void load(Code code, std::uint64_t at) const;
    template <class T>
    void store(std::uint64_t at, const T& value) const {
        *reinterpret_cast<T*>(data_ + at) = value;
    }

private:
    std::size_t size_;
    std::uint8_t* data_;
};

/// A virtual processor's file, with its register page.
class RawVp {
public:
    RawVp(const hv::mshv::File& partition, std::uint32_t index);
    ~RawVp();
    RawVp(const RawVp&) = delete;
    RawVp& operator=(const RawVp&) = delete;

    [[nodiscard]] const hv::mshv::File& file() const { return file_; }
    [[nodiscard]] hv_vp_register_page& page() const { return *page_; }

    [[nodiscard]] hv_message run() const;
    void set(std::span<const hv_register_assoc> registers) const;
    void set(std::uint32_t name, std::uint64_t value) const;
    void get(std::span<hv_register_assoc> registers) const;
    [[nodiscard]] std::uint64_t get(std::uint32_t name) const;
    [[nodiscard]] std::vector<std::uint8_t> state(hv::mshv::VpStateKind kind) const;
    void set_state(hv::mshv::VpStateKind kind, std::span<const std::uint8_t> state) const;

private:
    hv::mshv::File file_;
    std::uint32_t index_;
    hv_vp_register_page* page_;
};

/// A partition's file.
class RawVm {
public:
    explicit RawVm(hv::mshv::CreatePartition settings);

    [[nodiscard]] const hv::mshv::File& file() const { return file_; }
    void initialize() const;
    void set_property(std::uint32_t code, std::uint64_t value) const;
    [[nodiscard]] std::uint64_t property(std::uint32_t code) const;
    void map(const RawMemory& memory, std::uint64_t gpa) const;
    void install_intercept(std::uint32_t type, std::uint32_t access) const;

private:
    hv::mshv::File file_;
};

/// The file of the driver itself.
[[nodiscard]] hv::mshv::File open_driver();
[[nodiscard]] constexpr std::uint64_t flag(hv::mshv::PartitionFlag one) {
    return std::uint64_t{1} << static_cast<unsigned>(one);
}

template <class Message>
[[nodiscard]] Message payload_of(const hv_message& message) {
    Message result;
    static_assert(sizeof result <= sizeof message.payload);
    __builtin_memcpy(&result, message.payload, sizeof result);
    return result;
}

} // namespace croft::guests
