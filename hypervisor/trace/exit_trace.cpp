// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/trace/exit_trace.hpp"

#include "abi/exit_trace.h"
#include "hypervisor/cpu/clock.hpp"
#include "hypervisor/cpu/virtual_cpu.hpp"
#include "hypervisor/partition/machine_statistics.hpp"
#include "hypervisor/partition/partition.hpp"
#include "hypervisor/partition/partition_table.hpp"
#include "hypervisor/partition/virtual_processor.hpp"
#include "hypervisor/trace/trace_ring.hpp"

#include <array>
#include <atomic>
#include <utility>

namespace hypervisor::exit_trace {

namespace {

static_assert(HV_EXIT_TRACE_MAX_LPS >= LogicalProcessor::most);
static_assert(sizeof(hv_exit_trace) == sizeof(hv_output_get_partition_property_ex));

/// One reader at a time, and one that switches.
constinit SpinLock control{};
constinit std::uint64_t the_key = 0; ///< under `control`; 0: nobody has asked for it

TraceRing::Level level_of(const VirtualProcessor& vp) {
    return vp.partition().is_root() ? TraceRing::Level::root : TraceRing::Level::child;
}

/// The published numbers are those of ExitReason; abi/exit_trace.h says what they mean.
constexpr bool reasons_match() {
    using enum ExitReason;
    constexpr std::array pairs{std::pair{interrupt, HV_EXIT_TRACE_INTERRUPT},
        std::pair{nmi, HV_EXIT_TRACE_NMI},
        std::pair{interrupt_window, HV_EXIT_TRACE_INTERRUPT_WINDOW},
        std::pair{cpuid, HV_EXIT_TRACE_CPUID}, std::pair{msr_read, HV_EXIT_TRACE_MSR_READ},
        std::pair{msr_write, HV_EXIT_TRACE_MSR_WRITE}, std::pair{io, HV_EXIT_TRACE_PORT},
        std::pair{halt, HV_EXIT_TRACE_HALT}, std::pair{hypercall, HV_EXIT_TRACE_HYPERCALL},
        std::pair{nested_page_fault, HV_EXIT_TRACE_MEMORY}, std::pair{set_xcr0, HV_EXIT_TRACE_XCR0},
        std::pair{invalidate_caches, HV_EXIT_TRACE_CACHES},
        std::pair{undefined_instruction, HV_EXIT_TRACE_UNDEFINED},
        std::pair{performance_counter, HV_EXIT_TRACE_PERFORMANCE_COUNTER},
        std::pair{shutdown, HV_EXIT_TRACE_SHUTDOWN},
        std::pair{invalid_state, HV_EXIT_TRACE_INVALID_STATE},
        std::pair{exception, HV_EXIT_TRACE_EXCEPTION},
        std::pair{unexpected, HV_EXIT_TRACE_UNEXPECTED}};
    for (const auto& [ours, published] : pairs) {
        if (std::to_underlying(ours) != static_cast<unsigned>(published)) {
            return false;
        }
    }
    return pairs.size() == HV_EXIT_TRACE_REASONS;
}
static_assert(reasons_match());

std::uint64_t port_detail(const Exit& exit) {
    return exit.port | (std::uint64_t{exit.access_size} << 16) |
        (exit.is_in ? HV_EXIT_TRACE_PORT_IN : 0) |
        (exit.is_string ? HV_EXIT_TRACE_PORT_STRING : 0) |
        (exit.has_rep ? HV_EXIT_TRACE_PORT_REP : 0);
}

/// What the registers say that no exit's code does.
void describe(hv_exit_trace_record& record, const NativeCpu& cpu, const Exit& exit) {
    const auto& gpr = cpu.gpr;
    const auto low = [&gpr](GeneralRegister r) {
        return gpr[r] & 0xffffffff;
    };
    const std::uint64_t pair = gpr[GeneralRegister::rdx] << 32 | low(GeneralRegister::rax);
    switch (exit.reason) {
    case ExitReason::cpuid:
        record.detail = low(GeneralRegister::rax) | gpr[GeneralRegister::rcx] << 32;
        break;
    case ExitReason::msr_write:
        record.value = pair;
        [[fallthrough]];
    case ExitReason::msr_read:
        record.detail = low(GeneralRegister::rcx);
        break;
    case ExitReason::io:
        record.detail = port_detail(exit);
        record.value = gpr[GeneralRegister::rax];
        break;
    case ExitReason::hypercall:
        if (cpu.mode() == InstructionMode::bits64) {
            record.detail = gpr[GeneralRegister::rcx];
            record.value = gpr[GeneralRegister::rdx];
        } else {
            record.detail = pair;
            record.value = gpr[GeneralRegister::rbx] << 32 | low(GeneralRegister::rcx);
        }
        break;
    case ExitReason::nested_page_fault:
        record.detail = exit.gpa;
        record.value = (exit.is_write ? HV_EXIT_TRACE_MEMORY_WRITE : 0) |
            (exit.is_execute ? HV_EXIT_TRACE_MEMORY_EXECUTE : 0);
        break;
    case ExitReason::set_xcr0:
        record.value = pair;
        break;
    case ExitReason::exception:
        record.detail = exit.vector | std::uint64_t{exit.error_code} << 32;
        record.value = exit.fault_address;
        break;
    default:
        break;
    }
}

/// A number that another program can't guess: the processor's, where it has such. Where it has not
/// there is only the time of the first question, to one of some 2^9 ticks a microsecond.
std::uint64_t make_key() {
    constexpr std::uint32_t has_rdrand = 1u << 30;
    constexpr unsigned tries = 100;
    std::uint64_t random = 0;
    if ((cpuid(1).ecx & has_rdrand) != 0) {
        bool is_there = false;
        for (unsigned i = 0; i < tries && !is_there; ++i) {
            asm volatile("rdrand %0" : "=r"(random), "=@ccc"(is_there) : : "memory");
        }
    }
    random ^= read_tsc() * 0x9e3779b97f4a7c15;
    return random != 0 ? random : 1;
}

PagePool& pool() {
    return partition_table::root()->deposits();
}

/// What there is to read.
Status read(LogicalProcessor& lp, hv_exit_trace& answer) {
    const SpinGuard guard{control};
    TraceRing* ring = lp.trace_ring();
    if (ring == nullptr) {
        ring = TraceRing::create(pool());
        if (ring == nullptr) {
            return Status::insufficient_memory;
        }
        lp.set_trace_ring(ring);
        machine_statistics::refresh(*partition_table::root());
    }
    answer.time = read_tsc();
    answer.open_since = ring->open_since();
    const TraceRing::Reading reading = ring->read(answer.records);
    answer.count = static_cast<std::uint32_t>(reading.count);
    answer.lost = reading.lost;
    return Status::success;
}

void end(LogicalProcessor& lp) {
    TraceRing* ring = nullptr;
    {
        const SpinGuard guard{control};
        ring = lp.trace_ring();
        lp.set_trace_ring(nullptr);
    }
    if (ring != nullptr) {
        LogicalProcessor::wait_until_all_have_passed();
        TraceRing::destroy(*ring, pool());
        machine_statistics::refresh(*partition_table::root());
    }
}

} // namespace

void record_exit(TraceRing& ring, const VirtualProcessor& vp, const Exit& exit) {
    hv_exit_trace_record record{};
    record.time = read_tsc();
    record.partition_id = vp.partition().id();
    record.rip = vp.cpu().get(CpuRegister::rip);
    record.vp_index = static_cast<std::uint16_t>(vp.index());
    record.reason = std::to_underlying(exit.reason);
    record.code = static_cast<std::uint32_t>(exit.code);
    describe(record, vp.cpu(), exit);
    ring.begin(level_of(vp), record);
}

void record_entry(TraceRing& ring, const VirtualProcessor& vp) {
    ring.enter(level_of(vp), read_tsc());
}

void record_stop(TraceRing& ring, const VirtualProcessor& vp, bool is_for_parent) {
    const bool waits = (vp.blocks() & VirtualProcessor::waiting) != 0;
    ring.end(level_of(vp), read_tsc(),
        is_for_parent ? HV_EXIT_TRACE_PARENT
            : waits   ? HV_EXIT_TRACE_WAITS
                      : HV_EXIT_TRACE_STOPPED);
}

std::uint64_t key() {
    const SpinGuard guard{control};
    if (the_key == 0) {
        the_key = make_key();
    }
    return the_key;
}

bool is_property(std::uint32_t code) {
    return code >= HV_PARTITION_PROPERTY_EXIT_TRACE &&
        code < HV_PARTITION_PROPERTY_EXIT_TRACE_END + HV_EXIT_TRACE_MAX_LPS;
}

Status get_property(std::uint32_t code, std::uint64_t key, hv_exit_trace& answer) {
    {
        const SpinGuard guard{control};
        if (the_key == 0 || key != the_key) {
            return Status::access_denied;
        }
    }
    const auto all = LogicalProcessor::all();
    const std::uint32_t index = code % HV_EXIT_TRACE_MAX_LPS;
    if (index >= all.size()) {
        return Status::invalid_lp_index;
    }
    if (code >= HV_PARTITION_PROPERTY_EXIT_TRACE_END) {
        end(*all[index]);
    } else if (const Status status = read(*all[index], answer); status != Status::success) {
        return status;
    }
    // Else each reading would have a reading to tell of.
    if (TraceRing* const own = LogicalProcessor::current().trace_ring(); own != nullptr) {
        own->drop(TraceRing::Level::root);
    }
    answer.lp_count = static_cast<std::uint32_t>(all.size());
    answer.tsc_frequency = clock::tsc_frequency();
    return Status::success;
}

} // namespace hypervisor::exit_trace
