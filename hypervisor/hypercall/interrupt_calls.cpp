// SPDX-License-Identifier: Apache-2.0
#include "abi/interrupt.h"
#include "hypervisor/cpu/logical_processor.hpp"
#include "hypervisor/hypercall/table.hpp"
#include "hypervisor/hypercall/target.hpp"
#include "hypervisor/hypercall/vp_set.hpp"
#include "hypervisor/partition/interrupts.hpp"
#include "hypervisor/partition/machine_statistics.hpp"

namespace hypervisor::hypercall {

namespace {

constexpr unsigned first_vector = 0x10;
constexpr unsigned last_vector = 0xff;

bool is_ipi_vector(std::uint32_t vector) {
    return vector >= first_vector && vector <= last_vector;
}

void send_ipi(Partition& partition, std::uint32_t index, std::uint32_t vector) {
    if (VirtualProcessor* const vp = partition.vp(index); vp != nullptr) {
        vp->accept_interrupt(static_cast<std::uint8_t>(vector), false);
    }
}

} // namespace

Status assert_virtual_interrupt(Call& call) {
    const auto in = call.in<hv_input_assert_virtual_interrupt>();
    const auto target = find_active_child(call, in.partition_id);
    if (!target) {
        return target.error();
    }
    if (in.control.interrupt_type > HV_X64_INTERRUPT_TYPE_EXTINT) {
        return Status::invalid_parameter;
    }
    // 255 reaches all, as in a message of an I/O APIC.
    constexpr std::uint64_t broadcast8 = 0xff;
    const InterruptCommand command{.mode = static_cast<DeliveryMode>(in.control.interrupt_type),
        .vector = static_cast<std::uint8_t>(in.vector),
        .logical = in.control.logical_dest_mode != 0,
        .asserted = true,
        .level_triggered = in.control.level_triggered != 0,
        .destination = in.dest_addr == broadcast8 && in.control.logical_dest_mode == 0
            ? broadcast_destination
            : static_cast<std::uint32_t>(in.dest_addr)};
    (void)interrupts::send(*target, command); // one for nobody is lost, as on a real bus
    return Status::success;
}

/// Level-triggered interrupts stay requested in the local APIC until they are delivered; there is
/// no external interrupt line that could be taken back.
Status clear_virtual_interrupt(Call& call) {
    return find_active_child(call, call.in<std::uint64_t>()).error();
}

Status send_synthetic_cluster_ipi(Call& call) {
    const auto in = call.in<hv_input_send_synthetic_cluster_ipi>();
    if (!is_ipi_vector(in.vector)) {
        return Status::invalid_parameter;
    }
    Partition& partition = call.caller.partition();
    for_each_in_mask(
        in.processor_mask, [&](std::uint32_t index) { send_ipi(partition, index, in.vector); });
    return Status::success;
}

Status send_synthetic_cluster_ipi_ex(Call& call) {
    struct [[gnu::packed]] Header {
        std::uint32_t vector;
        std::uint32_t reserved;
        std::uint64_t format;
        std::uint64_t valid_banks;
    };
    const auto in = call.in<Header>();
    if (!is_ipi_vector(in.vector)) {
        return Status::invalid_parameter;
    }
    Partition& partition = call.caller.partition();
    const bool complete = for_each_in_set(call, in.format, in.valid_banks, sizeof in,
        call.input.size(), [&](std::uint32_t index) { send_ipi(partition, index, in.vector); });
    return complete ? Status::success : Status::invalid_hypercall_input;
}

/// The root asks where a device's interrupt is to go; it writes the answer into the device or the
/// I/O APIC itself.
Status map_device_interrupt(Call& call) {
    struct [[gnu::packed]] Header {
        std::uint64_t partition_id;
        std::uint64_t device_id;
        std::uint32_t flags;
        std::uint32_t base_irt_idx;
        std::uint8_t logical_entry[16];
        std::uint32_t interrupt_type;
        std::uint32_t trigger_mode;
        std::uint32_t vector_count;
        std::uint32_t reserved;
        std::uint32_t vector;
        std::uint32_t target_flags;
        std::uint64_t format;
    };
    static_assert(
        sizeof(Header) + 8 == offsetof(hv_input_map_device_interrupt, target.vp_set.bank_contents));
    const auto in = call.in<Header>();
    const auto target = find_target(call, in.partition_id);
    if (!target || !target->is_root()) {
        return Status::invalid_partition_id;
    }
    if (in.vector_count != 1 || in.vector < first_vector || in.vector > last_vector ||
        in.target_flags != HV_DEVICE_INTERRUPT_TARGET_PROCESSOR_SET ||
        call.variable_header < sizeof(std::uint64_t)) {
        return Status::invalid_parameter;
    }
    VirtualProcessor* vp = nullptr;
    const auto valid_banks = call.in<std::uint64_t>(sizeof in);
    const bool complete = for_each_in_set(call, in.format, valid_banks,
        sizeof in + sizeof(std::uint64_t), call.input.size(),
        [&](std::uint32_t index) { vp = vp == nullptr ? target->vp(index) : vp; });
    if (!complete || vp == nullptr) {
        return Status::invalid_vp_index;
    }
    const bool level = in.trigger_mode == HV_INTERRUPT_TRIGGER_MODE_LEVEL;
    LogicalProcessor& lp = vp->lp();
    const auto physical = lp.device_interrupts().map(
        {.vp = vp, .vector = static_cast<std::uint8_t>(in.vector), .level = level});
    if (!physical) {
        return Status::no_resources;
    }
    target->device_interrupts.fetch_add(1, std::memory_order_relaxed);
    machine_statistics::refresh(*target);
    hv_output_map_device_interrupt out{};
    if ((in.device_id >> HV_DEVICE_ID_TYPE_SHIFT) == HV_DEVICE_TYPE_IOAPIC) {
        constexpr unsigned trigger_shift = 15;
        constexpr unsigned destination_shift = 56;
        out.interrupt_entry.source = HV_INTERRUPT_SOURCE_IOAPIC;
        out.interrupt_entry.ioapic_rte = *physical |
            (std::uint64_t{level ? 1u : 0u} << trigger_shift) |
            (std::uint64_t{lp.apic_id()} << destination_shift);
    } else {
        constexpr std::uint32_t msi_base = 0xfee00000;
        constexpr unsigned destination_shift = 12;
        out.interrupt_entry.source = HV_INTERRUPT_SOURCE_MSI;
        out.interrupt_entry.msi.address = msi_base | (lp.apic_id() << destination_shift);
        out.interrupt_entry.msi.data = *physical;
    }
    call.out(out);
    return Status::success;
}

Status unmap_device_interrupt(Call& call) {
    const auto in = call.in<hv_input_unmap_device_interrupt>();
    const auto target = find_target(call, in.partition_id);
    if (!target || !target->is_root()) {
        return Status::invalid_partition_id;
    }
    const bool io_apic = in.interrupt_entry.source == HV_INTERRUPT_SOURCE_IOAPIC;
    const auto vector = static_cast<std::uint8_t>(
        io_apic ? in.interrupt_entry.ioapic_rte : in.interrupt_entry.msi.data);
    const auto apic_id =
        static_cast<std::uint32_t>(io_apic ? in.interrupt_entry.ioapic_rte >> 56
                                           : (in.interrupt_entry.msi.address >> 12) & 0xff);
    for (LogicalProcessor* const lp : LogicalProcessor::all()) {
        if (lp->apic_id() != apic_id) {
            continue;
        }
        if (!lp->device_interrupts().unmap(vector)) {
            break;
        }
        target->device_interrupts.fetch_sub(1, std::memory_order_relaxed);
        machine_statistics::refresh(*target);
        return Status::success;
    }
    return Status::invalid_parameter;
}

/// A child's devices are its parent's, which says when it wants to hear of them.
Status retarget_device_interrupt(Call& call) {
    const Partition& partition = call.caller.partition();
    call.for_parent = !partition.is_root() && partition.parent_retargets_interrupts.load();
    return Status::invalid_parameter; // the hypervisor knows no such device
}

} // namespace hypervisor::hypercall
