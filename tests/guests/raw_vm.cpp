// SPDX-License-Identifier: Apache-2.0
#include "tests/guests/raw_vm.hpp"

#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <stdexcept>
#include <sys/mman.h>

namespace croft::guests {

namespace {

using hv::mshv::File;

/// Of the virtual processor's index, in the input of both calls for registers.
constexpr std::size_t index_offset = offsetof(hv_input_get_vp_registers, vp_index);
static_assert(index_offset == offsetof(hv_input_set_vp_registers, vp_index));

std::uint8_t* allocate(std::size_t size) {
    void* const at =
        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
        throw std::runtime_error("no memory");
    }
    return static_cast<std::uint8_t*>(at);
}

File create(hv::mshv::CreatePartition settings) {
    const File driver = open_driver();
    return File{driver.request(
        "create a partition", hv::mshv::create_partition, static_cast<void*>(&settings))};
}

File create_vp(const File& partition, std::uint32_t index) {
    hv::mshv::CreateVp arguments{index};
    return File{partition.request(
        "create a processor", hv::mshv::create_vp, static_cast<void*>(&arguments))};
}

} // namespace

File open_driver() {
    return File{open("/dev/mshv", O_RDWR | O_CLOEXEC)};
}

RawMemory::RawMemory(std::size_t size) : size_{size}, data_{allocate(size)} {}

RawMemory::~RawMemory() {
    munmap(data_, size_);
}

void RawMemory::load(Code code, std::uint64_t at) const {
    std::memcpy(data_ + at, code.data(), code.size());
}

RawVp::RawVp(const File& partition, std::uint32_t index)
    : file_{create_vp(partition, index)},
      index_{index} {
    void* const at = mmap(nullptr, HV_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
        file_.descriptor(), hv::mshv::map_registers);
    if (at == MAP_FAILED) {
        throw std::runtime_error("no register page");
    }
    page_ = static_cast<hv_vp_register_page*>(at);
}

RawVp::~RawVp() {
    munmap(page_, HV_PAGE_SIZE);
}

hv_message RawVp::run() const {
    hv::mshv::RunVp message{};
    file_.request("run", hv::mshv::run_vp, static_cast<void*>(&message));
    hv_message result{};
    std::memcpy(&result, message.message, sizeof result);
    return result;
}

void RawVp::set(std::span<const hv_register_assoc> registers) const {
    std::vector<std::byte> input(sizeof(hv_input_set_vp_registers) + registers.size_bytes());
    std::memcpy(input.data() + index_offset, &index_, sizeof index_);
    std::memcpy(
        input.data() + sizeof(hv_input_set_vp_registers), registers.data(), registers.size_bytes());
    file_.rep_hypercall("set registers", HVCALL_SET_VP_REGISTERS,
        static_cast<std::uint16_t>(registers.size()), input);
}

void RawVp::set(std::uint32_t name, std::uint64_t value) const {
    set(std::array{hv::register_value(name, value)});
}

void RawVp::get(std::span<hv_register_assoc> registers) const {
    std::vector<std::byte> input(
        sizeof(hv_input_get_vp_registers) + registers.size() * sizeof(std::uint32_t));
    std::memcpy(input.data() + index_offset, &index_, sizeof index_);
    for (std::size_t i = 0; i < registers.size(); ++i) {
        std::memcpy(input.data() + sizeof(hv_input_get_vp_registers) + i * sizeof(std::uint32_t),
            &registers[i].name, sizeof(std::uint32_t));
    }
    std::vector<hv_register_value> values(registers.size());
    file_.rep_hypercall("read registers", HVCALL_GET_VP_REGISTERS,
        static_cast<std::uint16_t>(registers.size()), input,
        std::as_writable_bytes(std::span{values}));
    for (std::size_t i = 0; i < registers.size(); ++i) {
        registers[i].value = values[i];
    }
}

std::uint64_t RawVp::get(std::uint32_t name) const {
    std::array one{hv::register_name(name)};
    get(one);
    return one[0].value.reg64;
}

std::vector<std::uint8_t> RawVp::state(hv::mshv::VpStateKind kind) const {
    const RawMemory page{HV_PAGE_SIZE};
    hv::mshv::VpStateRequest request{};
    request.type = static_cast<std::uint8_t>(kind);
    request.size = HV_PAGE_SIZE;
    request.buffer = std::bit_cast<std::uint64_t>(page.data());
    file_.request("read a state", hv::mshv::get_vp_state, static_cast<void*>(&request));
    return {page.data(), page.data() + page.size()};
}

void RawVp::set_state(hv::mshv::VpStateKind kind, std::span<const std::uint8_t> state) const {
    const RawMemory page{HV_PAGE_SIZE};
    std::memcpy(page.data(), state.data(), state.size());
    hv::mshv::VpStateRequest request{};
    request.type = static_cast<std::uint8_t>(kind);
    request.size = HV_PAGE_SIZE;
    request.buffer = std::bit_cast<std::uint64_t>(page.data());
    file_.request("set a state", hv::mshv::set_vp_state, static_cast<void*>(&request));
}

RawVm::RawVm(hv::mshv::CreatePartition settings) : file_{create(settings)} {}

void RawVm::initialize() const {
    file_.request("initialize", hv::mshv::initialize_partition, std::uint64_t{0});
}

void RawVm::set_property(std::uint32_t code, std::uint64_t value) const {
    hv_input_set_partition_property input{};
    input.property_code = code;
    input.property_value = value;
    file_.call("set a property", HVCALL_SET_PARTITION_PROPERTY, input);
}

std::uint64_t RawVm::property(std::uint32_t code) const {
    hv_input_get_partition_property input{};
    input.property_code = code;
    hv_output_get_partition_property output{};
    file_.call("read a property", HVCALL_GET_PARTITION_PROPERTY, input, output);
    return output.property_value;
}

void RawVm::map(const RawMemory& memory, std::uint64_t gpa) const {
    hv::mshv::UserMemoryRegion region{};
    region.size = memory.size();
    region.guest_page = gpa >> HV_PAGE_SHIFT;
    region.user_address = std::bit_cast<std::uint64_t>(memory.data());
    region.flags = hv::mshv::memory_writable | hv::mshv::memory_executable;
    file_.request("map memory", hv::mshv::set_guest_memory, static_cast<void*>(&region));
}

void RawVm::install_intercept(std::uint32_t type, std::uint32_t access) const {
    hv_input_install_intercept input{};
    input.access_type = access;
    input.intercept_type = type;
    file_.call("install an intercept", HVCALL_INSTALL_INTERCEPT, input);
}

} // namespace croft::guests
