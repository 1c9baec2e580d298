// SPDX-License-Identifier: Apache-2.0
#include "abi/port.h"
#include "hypervisor/hypercall/table.hpp"
#include "hypervisor/hypercall/target.hpp"
#include "hypervisor/partition/doorbell.hpp"

namespace hypervisor::hypercall {

namespace {

bool is_valid_sint(std::uint32_t sint) {
    return sint < HV_SYNIC_SINT_COUNT;
}

} // namespace

/// Ports of type doorbell: they belong to the root.
Status create_port(Call& call) {
    const auto in = call.in<hv_input_create_port>();
    const auto owner = find_target(call, in.port_partition_id);
    const auto other = find_target(call, in.connection_partition_id);
    if (!owner || !owner->is_root() || !other || other->is_root()) {
        return Status::invalid_partition_id;
    }
    if (in.port_info.port_type != HV_PORT_TYPE_DOORBELL ||
        !is_valid_sint(in.port_info.doorbell.target_sint)) {
        return Status::invalid_parameter;
    }
    const std::uint32_t vp = in.port_info.doorbell.target_vp;
    if (vp != HV_ANY_VP && owner->vp(vp) == nullptr) {
        return Status::invalid_vp_index;
    }
    const SpinGuard guard{owner->ports().lock};
    if (in.port_id == 0 || owner->ports().find_port(in.port_id) != nullptr) {
        return Status::invalid_port_id;
    }
    Port* const port = owner->ports().ports.add(owner->deposits());
    if (port == nullptr) {
        return Status::insufficient_memory;
    }
    port->id = in.port_id;
    port->target_vp = vp;
    port->target_sint = static_cast<std::uint8_t>(in.port_info.doorbell.target_sint);
    port->connection_partition = other->id();
    return Status::success;
}

Status delete_port(Call& call) {
    const auto in = call.in<hv_input_delete_port>();
    const auto owner = find_target(call, in.port_partition_id);
    if (!owner) {
        return owner.error();
    }
    const SpinGuard guard{owner->ports().lock};
    Port* const port = owner->ports().find_port(in.port_id);
    if (port == nullptr) {
        return Status::invalid_port_id;
    }
    owner->ports().ports.remove(*port, owner->deposits());
    return Status::success;
}

Status connect_port(Call& call) {
    const auto in = call.in<hv_input_connect_port>();
    const auto owner = find_target(call, in.port_partition_id);
    const auto child = find_target(call, in.connection_partition_id);
    if (!owner || !child || child->is_root()) {
        return Status::invalid_partition_id;
    }
    if (in.connection_info.port_type != HV_PORT_TYPE_DOORBELL ||
        (in.connection_info.doorbell.flags & HV_DOORBELL_FLAG_TRIGGER_SIZE_MASK) >
            HV_DOORBELL_FLAG_TRIGGER_SIZE_QWORD) {
        return Status::invalid_parameter;
    }
    Port port;
    {
        const SpinGuard guard{owner->ports().lock};
        const Port* const found = owner->ports().find_port(in.port_id);
        if (found == nullptr || found->connection_partition != child->id()) {
            return Status::invalid_port_id;
        }
        port = *found;
    }
    const SpinGuard guard{child->ports().lock};
    // Under the lock: a partition that has ended has given its doorbells back, or is about to.
    if (child->state() != Partition::State::initialized) {
        return Status::invalid_partition_state;
    }
    if (child->ports().find_connection(in.connection_id) != nullptr) {
        return Status::invalid_connection_id;
    }
    Doorbell* const bell = child->ports().doorbells.add(child->deposits());
    if (bell == nullptr) {
        return Status::insufficient_memory;
    }
    bell->gpa = in.connection_info.doorbell.gpa;
    bell->trigger_value = in.connection_info.doorbell.trigger_value;
    bell->flags = in.connection_info.doorbell.flags;
    bell->connection_id = in.connection_id;
    bell->port_id = port.id;
    bell->target_vp = port.target_vp;
    bell->target_sint = port.target_sint;
    return Status::success;
}

Status disconnect_port(Call& call) {
    const auto in = call.in<hv_input_disconnect_port>();
    const auto child = find_target(call, in.connection_partition_id);
    if (!child) {
        return child.error();
    }
    const SpinGuard guard{child->ports().lock};
    Doorbell* const bell = child->ports().find_connection(in.connection_id);
    if (bell == nullptr) {
        return Status::invalid_connection_id;
    }
    child->ports().doorbells.remove(*bell, child->deposits());
    return Status::success;
}

Status signal_event(Call& call) {
    const auto in = call.in<hv_input_signal_event>();
    if (doorbell::ring_by_signal(call.caller.partition(), in.connection_id)) {
        return Status::success;
    }
    // A connection that has no doorbell may be one that the parent keeps itself.
    call.for_parent = !call.caller.partition().is_root();
    return Status::invalid_connection_id;
}

/// Messages of a child are its parent's to take: there are no buffers for them here.
Status post_message(Call& call) {
    call.for_parent = !call.caller.partition().is_root();
    return Status::invalid_connection_id;
}

Status signal_event_direct(Call& call) {
    const auto in = call.in<hv_input_signal_event_direct>();
    const auto vp = find_childs_vp(call, in.target_partition, in.target_vp);
    if (!vp) {
        return vp.error();
    }
    if (!is_valid_sint(in.target_sint) || in.flag_number >= HV_EVENT_FLAGS_COUNT) {
        return Status::invalid_parameter;
    }
    bool newly_signaled = false;
    vp->accept(vp->synic().set_event_flag(in.target_sint, in.flag_number, newly_signaled));
    call.out(hv_output_signal_event_direct{.newly_signaled = newly_signaled, .reserved = {}});
    return Status::success;
}

Status post_message_direct(Call& call) {
    const auto in = call.in<hv_input_post_message_direct>();
    const auto vp = find_childs_vp(call, in.partition_id, in.vp_index);
    if (!vp) {
        return vp.error();
    }
    if (!is_valid_sint(in.sint_index)) {
        return Status::invalid_parameter;
    }
    hv_message message;
    std::memcpy(&message, in.message, sizeof message);
    message.header.message_flags = 0;
    std::optional<Synic::Interrupt> interrupt;
    if (!vp->synic().try_post(in.sint_index, message, interrupt)) {
        return Status::insufficient_buffers;
    }
    vp->accept(interrupt);
    return Status::success;
}

Status notify_port_ring_empty(Call& call) {
    const auto in = call.in<hv_input_notify_port_ring_empty>();
    if (!is_valid_sint(in.sint_index)) {
        return Status::invalid_parameter;
    }
    doorbell::ring_empty(in.sint_index);
    return Status::success;
}

} // namespace hypervisor::hypercall
