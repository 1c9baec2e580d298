// SPDX-License-Identifier: Apache-2.0
#include "abi/memory.h"
#include "abi/partition.h"
#include "hypervisor/cpu/physical_apic.hpp"
#include "hypervisor/hypercall/table.hpp"
#include "hypervisor/hypercall/target.hpp"
#include "hypervisor/memory/root_pages.hpp"
#include "hypervisor/partition/guest_memory.hpp"
#include "hypervisor/partition/machine_statistics.hpp"

namespace hypervisor::hypercall {

namespace {

constexpr std::uint64_t page_number_limit = Slat::address_limit >> page_shift;

RootPages root_pages(Partition& root) {
    return {root.records(), root.space().slat(), root.space_lock()};
}

/// Whether the root may map a page that is no memory of its own into a child.
bool is_assignable(Partition& root, SpaPage page) {
    const bool is_apic = page == SpaPage::containing(physical_apic::page_address);
    return !is_apic && root.records().kind(page) == PageKind::device &&
        root.space().lookup(GpaPage{page.number()}).access == Slat::Access::mapped;
}

bool may_map(Call& call, SpaPage page) {
    if (page.number() >= page_number_limit) {
        return false; // an entry would hold only its lower bits
    }
    Partition& root = call.caller.partition();
    switch (root.records().kind(page)) {
    case PageKind::root:
        return true;
    case PageKind::device:
        return is_assignable(root, page);
    case PageKind::hypervisor:
    case PageKind::overlay:
    case PageKind::deposited:
    case PageKind::shared:
        break;
    }
    return false;
}

} // namespace

/// All pages or none: upstream frees all of its pages if the call fails.
Status deposit_memory(Call& call) {
    const auto target = find_target(call, call.in<hv_input_deposit_memory>().partition_id);
    if (!target) {
        return target.error();
    }
    if (target->state() == Partition::State::finalized) {
        return Status::invalid_partition_state;
    }
    const auto page_of = [&call](unsigned i) {
        return SpaPage{call.rep<std::uint64_t, hv_input_deposit_memory>(i)};
    };
    const unsigned first = call.rep_index;
    const auto next = [&](unsigned i) {
        return page_of(first + i);
    };
    if (!root_pages(call.caller.partition())
             .take_all(call.rep_count - first, next, target->slot())) {
        return Status::operation_denied;
    }
    call.caller.partition().flush_tlb();
    for (; call.rep_index < call.rep_count; ++call.rep_index) {
        target->deposits().add(page_of(call.rep_index));
    }
    machine_statistics::refresh(*target);
    return Status::success;
}

Status withdraw_memory(Call& call) {
    const auto target = find_target(call, call.in<hv_input_withdraw_memory>().partition_id);
    if (!target) {
        return target.error();
    }
    for (; call.rep_index < call.rep_count; ++call.rep_index) {
        const auto page = target->deposits().remove();
        if (!page) {
            machine_statistics::refresh(*target);
            return Status::no_resources;
        }
        root_pages(call.caller.partition()).give_back(*page);
        call.out(page->number(), call.rep_index * sizeof(std::uint64_t));
    }
    machine_statistics::refresh(*target);
    return Status::success;
}

Status get_memory_balance(Call& call) {
    const auto target = find_target(call, call.in<hv_input_get_memory_balance>().partition_id);
    if (!target) {
        return target.error();
    }
    const auto balance = target->deposits().balance();
    call.out(hv_output_get_memory_balance{
        .pages_available = balance.free, .pages_in_use = balance.total - balance.free});
    return Status::success;
}

Status map_gpa_pages(Call& call) {
    const auto in = call.in<hv_input_map_gpa_pages>();
    const auto target = find_child(call, in.target_partition_id);
    if (!target) {
        return target.error();
    }
    const bool large = (in.map_flags & HV_MAP_GPA_LARGE_PAGE) != 0;
    const std::uint64_t step = large ? pages_per_large_page : 1;
    const bool no_access =
        (in.map_flags & HV_MAP_GPA_NO_ACCESS) != 0 || (in.map_flags & HV_MAP_GPA_READABLE) == 0;
    if (in.target_gpa_base % step != 0) {
        return Status::invalid_alignment;
    }
    ReleaseList released;
    Status status = Status::success;
    {
        const SpinGuard guard{target->space_lock()};
        if (target->state() != Partition::State::initialized) {
            return Status::invalid_partition_state;
        }
        AddressSpace& space = target->space();
        for (; call.rep_index < call.rep_count && released.has_room(); ++call.rep_index) {
            const GpaPage gpa{in.target_gpa_base + call.rep_index * step};
            if (gpa.number() > page_number_limit - step) {
                status = Status::invalid_parameter;
                break;
            }
            if (no_access) {
                status = large ? space.map_no_access_large(gpa, released)
                               : space.map_no_access(gpa, released);
            } else {
                const SpaPage spa{call.rep<std::uint64_t, hv_input_map_gpa_pages>(call.rep_index)};
                if (large && spa.number() % step != 0) {
                    status = Status::invalid_alignment;
                } else if (!may_map(call, spa)) {
                    status = Status::operation_denied;
                } else {
                    status = large ? space.map_large(gpa, spa, in.map_flags, released)
                                   : space.map(gpa, spa, in.map_flags, released);
                }
            }
            if (status != Status::success) {
                break;
            }
        }
    }
    if (!released.empty()) {
        target->flush_and_release(released);
    }
    machine_statistics::refresh(*target);
    return status;
}

Status unmap_gpa_pages(Call& call) {
    const auto in = call.in<hv_input_unmap_gpa_pages>();
    const auto target = find_child(call, in.target_partition_id);
    if (!target) {
        return target.error();
    }
    const bool large = (in.unmap_flags & HV_UNMAP_GPA_LARGE_PAGE) != 0;
    const std::uint64_t step = large ? pages_per_large_page : 1;
    if (in.target_gpa_base % step != 0) {
        return Status::invalid_alignment;
    }
    ReleaseList released;
    Status status = Status::success;
    {
        const SpinGuard guard{target->space_lock()};
        if (target->state() != Partition::State::initialized) {
            return Status::invalid_partition_state;
        }
        for (; call.rep_index < call.rep_count && released.has_room(); ++call.rep_index) {
            const GpaPage gpa{in.target_gpa_base + call.rep_index * step};
            if (gpa.number() > page_number_limit - step) {
                status = Status::invalid_parameter;
                break;
            }
            status = large ? target->space().unmap_large(gpa, released)
                           : target->space().unmap(gpa, released);
            if (status != Status::success) {
                break;
            }
        }
    }
    if (!released.empty()) {
        target->flush_and_release(released);
    }
    machine_statistics::refresh(*target);
    return status;
}

Status get_gpa_pages_access_states(Call& call) {
    const auto in = call.in<hv_input_get_gpa_pages_access_state>();
    const auto target = find_child(call, in.partition_id);
    if (!target) {
        return target.error();
    }
    Status status = Status::success;
    bool changed = false;
    {
        const SpinGuard guard{target->space_lock()};
        if (target->state() != Partition::State::initialized) {
            return Status::invalid_partition_state;
        }
        for (; call.rep_index < call.rep_count; ++call.rep_index) {
            const GpaPage gpa{in.gpa_page_number + call.rep_index};
            if (gpa.number() >= page_number_limit) {
                status = Status::invalid_parameter;
                break;
            }
            const std::uint8_t state = target->space().access_state(gpa, in.flags, changed);
            call.out(state, call.rep_index);
        }
    }
    if (changed) {
        target->flush_tlb();
    }
    return status;
}

Status translate_virtual_address(Call& call) {
    const auto in = call.in<hv_input_translate_virtual_address>();
    const auto target = find_target(call, in.partition_id);
    if (!target) {
        return target.error();
    }
    const auto found = find_vp(call, *target, in.vp_index);
    if (!found) {
        return found.error();
    }
    VirtualProcessor* const vp = *found;
    const VirtualProcessor::Hold hold{*vp};
    PageAccess access{.kind = PageAccess::Kind::read};
    if ((in.control_flags & HV_TRANSLATE_GVA_VALIDATE_EXECUTE) != 0) {
        access.kind = PageAccess::Kind::execute;
    }
    if ((in.control_flags & HV_TRANSLATE_GVA_VALIDATE_WRITE) != 0) {
        access.kind = PageAccess::Kind::write;
    }
    constexpr std::uint64_t validations = HV_TRANSLATE_GVA_VALIDATE_READ |
        HV_TRANSLATE_GVA_VALIDATE_WRITE | HV_TRANSLATE_GVA_VALIDATE_EXECUTE;
    access.implicit_supervisor = (in.control_flags & HV_TRANSLATE_GVA_PRIVILEGE_EXEMPT) != 0;
    access.ignore_permissions = (in.control_flags & validations) == 0;
    const auto translation = translate(*vp, in.gva_page << page_shift, access,
        (in.control_flags & HV_TRANSLATE_GVA_SET_PAGE_TABLE_BITS) != 0 ? AccessedDirty::update
                                                                       : AccessedDirty::leave);
    hv_output_translate_virtual_address out{};
    if (!translation) {
        switch (translation.error().kind) {
        case PageFault::Kind::not_present:
        case PageFault::Kind::table_unstable:
            out.result_code = HV_TRANSLATE_GVA_PAGE_NOT_PRESENT;
            break;
        case PageFault::Kind::protection:
            out.result_code = HV_TRANSLATE_GVA_PRIVILEGE_VIOLATION;
            break;
        case PageFault::Kind::reserved_bit:
        case PageFault::Kind::non_canonical:
            out.result_code = HV_TRANSLATE_GVA_INVALID_PAGE_TABLE_FLAGS;
            break;
        case PageFault::Kind::table_unreadable:
            out.result_code = HV_TRANSLATE_GVA_GPA_UNMAPPED;
            break;
        }
        call.out(out);
        return Status::success;
    }
    const GpaPage gpa = GpaPage::containing(translation->gpa);
    out.gpa_page = gpa.number();
    const SpinGuard guard{target->space_lock()};
    const Slat::Mapping mapping = target->space().lookup(gpa);
    if (mapping.access == Slat::Access::unmapped) {
        out.result_code = HV_TRANSLATE_GVA_GPA_UNMAPPED;
    }
    call.out(out);
    return Status::success;
}

} // namespace hypervisor::hypercall
