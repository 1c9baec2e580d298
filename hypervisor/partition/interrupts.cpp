// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/interrupts.hpp"

#include "abi/message.h"
#include "hypervisor/cpu/logical_processor.hpp"
#include "hypervisor/cpu/physical_apic.hpp"
#include "hypervisor/partition/partition.hpp"
#include "hypervisor/partition/virtual_processor.hpp"

namespace hypervisor::interrupts {

namespace {

void deliver(VirtualProcessor& vp, const InterruptCommand& command) {
    switch (command.mode) {
    case DeliveryMode::fixed:
    case DeliveryMode::lowest_priority:
        vp.accept_interrupt(command.vector, command.level_triggered);
        break;
    case DeliveryMode::non_maskable:
        vp.accept_nmi();
        break;
    case DeliveryMode::init:
        // The de-assert of a level INIT only resets arbitration ids.
        if (!command.level_triggered || command.asserted) {
            vp.accept_init();
        }
        break;
    case DeliveryMode::startup:
        vp.accept_startup(command.vector);
        break;
    case DeliveryMode::system_management:
    case DeliveryMode::remote_read:
    case DeliveryMode::external:
        break; // there is no SMM, and no 8259 behind a local APIC
    }
}

bool matches(VirtualProcessor& vp, const InterruptCommand& command) {
    return command.logical ? vp.apic().matches_logical(command.destination)
                           : vp.apic().matches_physical(command.destination);
}

} // namespace

bool send(Partition& to, const InterruptCommand& command) {
    // The usual case first: one virtual processor by its id.
    if (!command.logical && command.destination < Partition::most_vps && !to.is_root()) {
        VirtualProcessor* const vp = to.vp(command.destination);
        if (vp != nullptr && vp->apic().matches_physical(command.destination)) {
            deliver(*vp, command);
            return true;
        }
    }
    VirtualProcessor* lowest = nullptr;
    bool found = false;
    to.for_each_vp([&](VirtualProcessor& vp) {
        if (!matches(vp, command)) {
            return;
        }
        found = true;
        if (command.mode != DeliveryMode::lowest_priority) {
            deliver(vp, command);
        } else if (lowest == nullptr ||
            vp.apic().arbitration_priority() < lowest->apic().arbitration_priority()) {
            lowest = &vp;
        }
    });
    if (lowest != nullptr) {
        deliver(*lowest, command);
    }
    return found;
}

void send(VirtualProcessor& from, const InterruptCommand& command) {
    switch (command.shorthand) {
    case DestinationShorthand::none:
        (void)send(from.partition(), command);
        break;
    case DestinationShorthand::self:
        if (command.mode != DeliveryMode::fixed) { // that one has been taken in already
            deliver(from, command);
        }
        break;
    case DestinationShorthand::all:
    case DestinationShorthand::all_but_self:
        from.partition().for_each_vp([&](VirtualProcessor& vp) {
            if (&vp != &from || command.shorthand == DestinationShorthand::all) {
                deliver(vp, command);
            }
        });
        break;
    }
}

void ended(VirtualProcessor& vp, const EndOfInterrupt& end) {
    if (!end.level_triggered) {
        return;
    }
    if (vp.partition().is_root()) {
        for (unsigned i = LogicalProcessor::current().device_interrupts().end_level(end.vector);
             i > 0; --i) {
            physical_apic::end_of_interrupt();
        }
        return;
    }
    vp.intercept(HVMSG_X64_APIC_EOI,
        hv_x64_apic_eoi_message{.vp_index = vp.index(), .interrupt_vector = end.vector});
}

} // namespace hypervisor::interrupts
