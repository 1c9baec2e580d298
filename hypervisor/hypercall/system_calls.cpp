// SPDX-License-Identifier: Apache-2.0
#include "abi/system.h"
#include "hypervisor/cpu/clock.hpp"
#include "hypervisor/cpu/logical_processor.hpp"
#include "hypervisor/hypercall/table.hpp"
#include "hypervisor/hypercall/target.hpp"
#include "hypervisor/partition/lifecycle.hpp"
#include "hypervisor/partition/machine_statistics.hpp"
#include "hypervisor/partition/power.hpp"
#include "hypervisor/scheduler/scheduler.hpp"

namespace hypervisor::hypercall {

namespace {

LogicalProcessor* find_lp(std::uint32_t index) {
    const auto all = LogicalProcessor::all();
    return index < all.size() ? all[index] : nullptr;
}

/// The statistics page that an identity is about.
struct StatsObject {
    Status status = Status::invalid_parameter;
    StatisticsPage* page = nullptr;
    VirtualProcessor* vp = nullptr; ///< whose it is, if it is one's
};

} // namespace

/// An LP that the root has not added does not exist for it.
Status get_logical_processor_run_time(Call& call) {
    const auto in = call.in<hv_input_get_logical_processor_run_time>();
    const LogicalProcessor* const lp = find_lp(in.lp_index);
    if (lp == nullptr || !lp->added_to_root.load()) {
        return Status::invalid_lp_index;
    }
    const std::uint64_t now = read_tsc();
    call.out(hv_output_get_logical_processor_run_time{.global_time = clock::to_100ns(now),
        .local_run_time = clock::to_100ns(lp->guest_time),
        .reserved = 0,
        .hypervisor_time = clock::to_100ns(lp->hypervisor_time(now))});
    return Status::success;
}

Status add_logical_processor(Call& call) {
    const auto in = call.in<hv_input_add_logical_processor>();
    LogicalProcessor* const lp = find_lp(in.lp_index);
    if (lp == nullptr || lp->apic_id() != in.apic_id) {
        return Status::invalid_lp_index;
    }
    lp->added_to_root.store(true);
    call.out(hv_output_add_logical_processor{});
    return Status::success;
}

Status notify_partition_event(Call& call) {
    const auto in = call.in<hv_input_notify_partition_event>();
    return in.event == HV_PARTITION_ALL_LOGICAL_PROCESSORS_STARTED ? Status::success
                                                                   : Status::invalid_parameter;
}

Status get_system_property(Call& call) {
    const auto in = call.in<hv_input_get_system_property>();
    if (in.property_id != HV_SYSTEM_PROPERTY_SCHEDULER_TYPE) {
        return Status::unknown_property;
    }
    call.out(hv_output_get_system_property{
        .value = scheduler::root_schedules() ? HV_SCHEDULER_TYPE_ROOT : HV_SCHEDULER_TYPE_LP});
    return Status::success;
}

Status set_system_property(Call& call) {
    const auto in = call.in<hv_input_set_system_property>();
    if (in.property_id != HV_SYSTEM_PROPERTY_SLEEP_STATE) {
        return Status::unknown_property;
    }
    if (in.set_sleep_state_info.sleep_state != HV_SLEEP_STATE_S5) {
        return Status::invalid_parameter;
    }
    power::set_off_types(
        in.set_sleep_state_info.pm1a_slp_typ, in.set_sleep_state_info.pm1b_slp_typ);
    return Status::success;
}

Status enter_sleep_state(Call& call) {
    const auto in = call.in<hv_input_enter_sleep_state>();
    if (in.sleep_state != HV_SLEEP_STATE_S5) {
        return Status::invalid_parameter;
    }
    power::off();
}

namespace {

StatsObject find_stats(Call& call, const hv_input_stats_page& in) {
    const auto parent_area = [](std::uint8_t area) {
        return area != HV_STATS_AREA_SELF;
    };
    switch (in.type) {
    case HV_STATS_OBJECT_HYPERVISOR:
        if (parent_area(in.identity.hypervisor.stats_area_type)) {
            return {};
        }
        return {Status::success, &machine_statistics::hypervisor_page()};
    case HV_STATS_OBJECT_LOGICAL_PROCESSOR:
        if (parent_area(in.identity.lp.stats_area_type) ||
            find_lp(in.identity.lp.lp_index) == nullptr) {
            return {};
        }
        return {Status::success, &machine_statistics::lp_page(in.identity.lp.lp_index)};
    case HV_STATS_OBJECT_PARTITION: {
        const auto target = find_target(call, in.identity.partition.partition_id);
        if (parent_area(in.identity.partition.stats_area_type)) {
            return {};
        }
        if (!target) {
            return {target.error(), nullptr};
        }
        return {Status::success, &target->statistics_page};
    }
    case HV_STATS_OBJECT_VP: {
        const auto target = find_target(call, in.identity.vp.partition_id);
        if (parent_area(in.identity.vp.stats_area_type)) {
            return {}; // one area is enough: the caller falls back to the other
        }
        if (!target) {
            return {target.error(), nullptr};
        }
        VirtualProcessor* const vp = target->vp(in.identity.vp.vp_index);
        if (vp == nullptr) {
            return {Status::invalid_vp_index, nullptr};
        }
        return {Status::success, &vp->counters.page(), vp};
    }
    default:
        return {};
    }
}

} // namespace

/// The page comes out of what the root has deposited for itself, whatever it is about.
Status map_stats_page(Call& call) {
    const auto in = call.in<hv_input_stats_page>();
    const StatsObject object = find_stats(call, in);
    if (object.status != Status::success) {
        return object.status;
    }
    PagePool& pool = call.caller.partition().deposits();
    std::uint64_t* shown = *object.page;
    if (shown == nullptr) {
        const auto page = lifecycle::share_page(pool);
        if (!page) {
            return Status::insufficient_memory;
        }
        // Another may have been faster: then its page is the one.
        const bool is_first =
            object.page->compare_exchange_strong(shown, pointer_to<std::uint64_t>(*page));
        if (is_first) {
            shown = pointer_to<std::uint64_t>(*page);
        }
        machine_statistics::refresh();
        if (object.vp != nullptr) {
            object.vp->show_dispatch_blocked();
        }
        if (!is_first) {
            // This waits for others, who may meanwhile take away what has been found.
            lifecycle::unshare_page(pool, *page);
        }
    }
    call.out(hv_output_map_stats_page{.map_location = spa_page_of(shown).number()});
    return Status::success;
}

Status unmap_stats_page(Call& call) {
    const auto in = call.in<hv_input_stats_page>();
    const StatsObject object = find_stats(call, in);
    if (object.status != Status::success) {
        return object.status;
    }
    const std::uint64_t* const page = object.page->exchange(nullptr);
    if (page == nullptr) {
        return Status::operation_denied;
    }
    // Others may count on it at this moment.
    LogicalProcessor::wait_until_all_have_passed();
    lifecycle::unshare_page(call.caller.partition().deposits(), spa_page_of(page));
    return Status::success;
}

} // namespace hypervisor::hypercall
