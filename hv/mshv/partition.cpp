// SPDX-License-Identifier: Apache-2.0
#include "hv/mshv/partition.hpp"

#include "hv/error.hpp"
#include "hv/mshv/ioctl.hpp"
#include "hv/mshv/virtual_processor.hpp"
#include "hv/register.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <fmt/format.h>
#include <utility>

namespace croft::hv::mshv {

namespace {

UserMemoryRegion region_of(const MemoryMapping& mapping) {
    UserMemoryRegion region{};
    region.size = mapping.size;
    region.guest_page = mapping.gpa >> HV_PAGE_SHIFT;
    region.user_address = std::bit_cast<std::uint64_t>(mapping.address);
    return region;
}

} // namespace

MshvPartition::MshvPartition(File file) : file_(std::move(file)) {}

std::uint64_t MshvPartition::property(hv_partition_property_code code) const {
    hv_input_get_partition_property input{};
    input.property_code = code;
    hv_output_get_partition_property output{};
    file_.call(fmt::format("read partition property {:#x}", std::to_underlying(code)),
        HVCALL_GET_PARTITION_PROPERTY, input, output);
    return output.property_value;
}

void MshvPartition::set_property(hv_partition_property_code code, std::uint64_t value) {
    hv_input_set_partition_property input{};
    input.property_code = code;
    input.property_value = value;
    file_.call(
        fmt::format("set partition property {:#x} to {:#x}", std::to_underlying(code), value),
        HVCALL_SET_PARTITION_PROPERTY, input);
}

void MshvPartition::initialize() {
    file_.request("initialize the partition", initialize_partition, std::uint64_t{0});
}

void MshvPartition::map_memory(const MemoryMapping& mapping) {
    UserMemoryRegion region = region_of(mapping);
    region.flags = static_cast<std::uint8_t>(
        (mapping.writable ? memory_writable : 0U) | (mapping.executable ? memory_executable : 0U));
    file_.request(
        fmt::format("map {:#x} bytes of guest memory at {:#x}", mapping.size, mapping.gpa),
        set_guest_memory, static_cast<void*>(&region));
}

void MshvPartition::unmap_memory(const MemoryMapping& mapping) {
    UserMemoryRegion region = region_of(mapping);
    region.flags = memory_unmap;
    file_.request(
        fmt::format("unmap {:#x} bytes of guest memory at {:#x}", mapping.size, mapping.gpa),
        set_guest_memory, static_cast<void*>(&region));
}

std::vector<std::uint64_t> MshvPartition::page_access(PageAccess access, PageAccessUpdate update,
    std::uint64_t first_page, std::uint64_t page_count) {
    std::vector<std::uint64_t> bitmap((page_count + 63) / 64);
    if (page_count == 0) {
        return bitmap;
    }
    if (update == PageAccessUpdate::keep) {
        read_page_access(access, first_page, bitmap, page_count);
        return bitmap;
    }
    PageAccessBitmap request{};
    request.access_type = access == PageAccess::dirty ? 1 : 0;
    request.access_operation = static_cast<std::uint8_t>(update);
    request.page_count = page_count;
    request.first_page = first_page;
    request.bitmap = std::bit_cast<std::uint64_t>(bitmap.data());
    file_.request("tell which pages of guest memory were used", get_page_access,
        static_cast<void*>(&request));
    return bitmap;
}

/// The driver's own request has no way to ask and change nothing: it sets what it isn't told to
/// clear.
void MshvPartition::read_page_access(PageAccess access, std::uint64_t first_page,
    std::span<std::uint64_t> bitmap, std::uint64_t page_count) const {
    constexpr std::uint64_t most = 2048;
    const unsigned mask = access == PageAccess::dirty ? HV_GPA_PAGE_DIRTY : HV_GPA_PAGE_ACCESSED;
    for (std::uint64_t done = 0; done < page_count;) {
        hv_input_get_gpa_pages_access_state input{};
        input.gpa_page_number = first_page + done;
        std::array<std::uint8_t, most> states{};
        const std::uint64_t count = std::min(most, page_count - done);
        file_.rep_hypercall("tell which pages of guest memory were used",
            HVCALL_GET_GPA_PAGES_ACCESS_STATES, static_cast<std::uint16_t>(count),
            std::as_bytes(std::span{&input, 1}),
            std::as_writable_bytes(std::span{states}.first(count)));
        for (std::uint64_t i = 0; i < count; ++i) {
            const std::uint64_t bit = (states.at(i) & mask) != 0 ? 1 : 0;
            bitmap[(done + i) / 64] |= bit << ((done + i) % 64);
        }
        done += count;
    }
}

std::unique_ptr<VirtualProcessor> MshvPartition::create_vp(std::uint32_t index) {
    CreateVp arguments{index};
    const int descriptor = file_.request(fmt::format("create virtual processor {}", index),
        mshv::create_vp, static_cast<void*>(&arguments));
    return std::make_unique<MshvVirtualProcessor>(File(descriptor), index);
}

void MshvPartition::assert_interrupt(const InterruptRequest& request) {
    hv_input_assert_virtual_interrupt input{};
    input.control.interrupt_type = request.type;
    input.control.level_triggered = request.level ? 1 : 0;
    input.control.logical_dest_mode = request.logical ? 1 : 0;
    input.dest_addr = request.destination;
    input.vector = request.vector;
    file_.call(fmt::format("assert interrupt {:#x} at {:#x}", request.vector, request.destination),
        HVCALL_ASSERT_VIRTUAL_INTERRUPT, input);
}

void MshvPartition::connect_interrupt(int event, std::uint32_t number, std::optional<int> ended) {
    UserIrqFd arguments{};
    arguments.event = event;
    arguments.resample_event = ended.value_or(0);
    arguments.gsi = number;
    arguments.flags = ended ? irqfd_resample : 0;
    file_.request(
        fmt::format("connect interrupt {}", number), irqfd, static_cast<void*>(&arguments));
}

void MshvPartition::disconnect_interrupt(int event, std::uint32_t number) {
    UserIrqFd arguments{};
    arguments.event = event;
    arguments.gsi = number;
    arguments.flags = irqfd_deassign;
    file_.request(
        fmt::format("disconnect interrupt {}", number), irqfd, static_cast<void*>(&arguments));
}

void MshvPartition::route_interrupts(std::span<const MsiRoute> routes) {
    std::vector<std::byte> buffer(sizeof(UserIrqTable) + routes.size() * sizeof(UserIrqEntry));
    const UserIrqTable header{static_cast<std::uint32_t>(routes.size()), 0};
    std::memcpy(buffer.data(), &header, sizeof(header));
    std::size_t at = sizeof(header);
    for (const MsiRoute& route : routes) {
        const UserIrqEntry entry{route.number, route.address, 0, route.data};
        std::memcpy(buffer.data() + at, &entry, sizeof(entry));
        at += sizeof(entry);
    }
    file_.request("route interrupts", set_msi_routing, static_cast<void*>(buffer.data()));
}

void MshvPartition::change_doorbell(
    std::string_view what, const Doorbell& doorbell, std::uint32_t flags) {
    UserIoEventFd arguments{};
    arguments.data_match = doorbell.value.value_or(0);
    arguments.address = doorbell.gpa;
    arguments.length = doorbell.size;
    arguments.event = doorbell.event;
    arguments.flags = flags | (doorbell.value ? ioeventfd_data_match : 0U);
    file_.request(fmt::format("{} the doorbell at {:#x}", what, doorbell.gpa), ioeventfd,
        static_cast<void*>(&arguments));
}

void MshvPartition::connect_doorbell(const Doorbell& doorbell) {
    change_doorbell("connect", doorbell, 0);
}

void MshvPartition::disconnect_doorbell(const Doorbell& doorbell) {
    change_doorbell("disconnect", doorbell, ioeventfd_deassign);
}

void MshvPartition::install_intercept(
    hv_intercept_type type, std::uint32_t access, std::uint64_t parameter) {
    hv_input_install_intercept input{};
    input.access_type = access;
    input.intercept_type = type;
    input.intercept_parameter.as_uint64 = parameter;
    file_.call(fmt::format("intercept {}, parameter {:#x}", std::to_underlying(type), parameter),
        HVCALL_INSTALL_INTERCEPT, input);
}

void MshvPartition::register_cpuid(const CpuidAnswer& answer) {
    hv_input_register_intercept_result input{};
    input.vp_index = answer.vp.value_or(HV_ANY_VP);
    input.intercept_type = HV_INTERCEPT_TYPE_X64_CPUID;
    input.cpuid.input.eax = answer.leaf;
    input.cpuid.input.ecx = answer.subleaf.value_or(0);
    input.cpuid.input.subleaf_specific = answer.subleaf.has_value() ? 1 : 0;
    input.cpuid.input.always_override = 1;
    input.cpuid.result.eax = answer.value[0];
    input.cpuid.result.eax_mask = answer.mask[0];
    input.cpuid.result.ebx = answer.value[1];
    input.cpuid.result.ebx_mask = answer.mask[1];
    input.cpuid.result.ecx = answer.value[2];
    input.cpuid.result.ecx_mask = answer.mask[2];
    input.cpuid.result.edx = answer.value[3];
    input.cpuid.result.edx_mask = answer.mask[3];
    file_.call(fmt::format("register what CPUID answers in leaf {:#x}", answer.leaf),
        HVCALL_REGISTER_INTERCEPT_RESULT, input);
}

void MshvPartition::register_msr(
    std::uint32_t msr, std::uint32_t access, hv_unimplemented_msr_action action) {
    hv_input_register_intercept_result input{};
    input.vp_index = HV_ANY_VP;
    input.intercept_type = HV_INTERCEPT_TYPE_X64_MSR;
    input.msr.msr_index = msr;
    input.msr.access_type = access;
    input.msr.action = action;
    file_.call(
        fmt::format("register what MSR {:#x} does", msr), HVCALL_REGISTER_INTERCEPT_RESULT, input);
}

bool MshvPartition::signal_event(std::uint32_t vp, std::uint8_t sint, std::uint16_t flag) {
    hv_input_signal_event_direct input{};
    input.target_vp = vp;
    input.target_sint = sint;
    input.flag_number = flag;
    hv_output_signal_event_direct output{};
    file_.call("signal an event", HVCALL_SIGNAL_EVENT_DIRECT, input, output);
    return output.newly_signaled != 0;
}

bool MshvPartition::post_message(std::uint32_t vp, std::uint8_t sint, const hv_message& message) {
    hv_input_post_message_direct input{};
    input.vp_index = vp;
    input.sint_index = sint;
    std::memcpy(input.message, &message, sizeof(message));
    try {
        file_.call("post a message", HVCALL_POST_MESSAGE_DIRECT, input);
    } catch (const HypervisorError& error) {
        if (error.status() == HV_STATUS_INSUFFICIENT_BUFFERS) {
            return false;
        }
        throw;
    }
    return true;
}

// By the partition's file: the VP's is taken while it runs.
void MshvPartition::notify_deliverable(std::uint32_t vp, std::uint16_t sints) {
    hv_x64_deliverability_notifications_register wanted{};
    wanted.sints = sints;
    struct {
        std::uint64_t partition_id;
        std::uint32_t vp_index;
        std::uint32_t vtl_and_reserved;
        hv_register_assoc element;
    } input{};
    static_assert(sizeof(input) == sizeof(hv_input_set_vp_registers) + sizeof(hv_register_assoc));
    input.vp_index = vp;
    input.element = register_value(HV_X64_REGISTER_DELIVERABILITY_NOTIFICATIONS, wanted.as_uint64);
    file_.rep_hypercall(fmt::format("ask for free message slots of processor {}", vp),
        HVCALL_SET_VP_REGISTERS, 1, std::as_bytes(std::span(&input, 1)));
}

} // namespace croft::hv::mshv
