// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "abi/partition.h"
#include "hv/hypervisor.hpp"
#include "hv/register.hpp"

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace croft::guests {

/// A piece of guest code from guest_code.S.
using Code = std::span<const std::uint8_t>;

/// A child partition with little memory and nothing else: no devices, no firmware. Its thread is
/// the caller's.
class GuestMachine {
public:
    static constexpr std::uint64_t code_gpa = 0x2000;
    static constexpr std::uint64_t data_gpa = 0x3000;
    static constexpr std::uint64_t startup_gpa = 0x8000;
    static constexpr std::uint64_t handlers_gpa = 0xc000;
    static constexpr std::uint64_t page_tables_gpa = 0x10000;
    static constexpr std::uint64_t report_port = 0x99;

    /// HV_PARTITION_SYNTHETIC_PROCESSOR_FEATURES: all that a child can have.
    static constexpr std::uint64_t whole_interface = HV_SYNTHETIC_HYPERVISOR_PRESENT |
        HV_SYNTHETIC_HV1 | HV_SYNTHETIC_ACCESS_VP_RUN_TIME_REG |
        HV_SYNTHETIC_ACCESS_PARTITION_REFERENCE_COUNTER | HV_SYNTHETIC_ACCESS_SYNIC_REGS |
        HV_SYNTHETIC_ACCESS_SYNTHETIC_TIMER_REGS | HV_SYNTHETIC_ACCESS_INTR_CTRL_REGS |
        HV_SYNTHETIC_ACCESS_HYPERCALL_REGS | HV_SYNTHETIC_ACCESS_VP_INDEX |
        HV_SYNTHETIC_ACCESS_PARTITION_REFERENCE_TSC | HV_SYNTHETIC_ACCESS_GUEST_IDLE_REG |
        HV_SYNTHETIC_ACCESS_FREQUENCY_REGS | HV_SYNTHETIC_DIRECT_SYNTHETIC_TIMERS |
        HV_SYNTHETIC_EXTENDED_PROCESSOR_MASKS | HV_SYNTHETIC_TB_FLUSH_HYPERCALLS |
        HV_SYNTHETIC_CLUSTER_IPI | HV_SYNTHETIC_NOTIFY_LONG_SPIN_WAIT | HV_SYNTHETIC_SIGNAL_EVENTS;

    explicit GuestMachine(std::size_t memory = 4u << 20, std::uint32_t processors = 1,
        std::uint64_t interface = whole_interface);
    /// Over memory of somebody else's, from 0 on; with its code.
    GuestMachine(const hv::MemoryMapping& memory, Code code, std::uint32_t processors = 1);
    ~GuestMachine();
    GuestMachine(const GuestMachine&) = delete;
    GuestMachine& operator=(const GuestMachine&) = delete;

    hv::Partition& partition() { return *partition_; }
    hv::VirtualProcessor& vp(std::size_t index = 0) { return *vps_[index]; }
    std::uint8_t* memory() { return memory_; }

    void load(Code code, std::uint64_t gpa = code_gpa);
    template <class T>
    void store(std::uint64_t gpa, const T& value) {
        *reinterpret_cast<T*>(memory_ + gpa) = value;
    }

    // Where the first processor goes on.
    void start_in_real_mode(std::uint64_t entry = code_gpa);
    void start_in_protected_mode(std::uint64_t entry = code_gpa);
    /// Paging maps the first GiB where it is, and the 2 MiB at 0xfee00000.
    void start_in_long_mode(std::uint64_t entry = code_gpa, std::size_t index = 0);

    /// A handler for exceptions in long mode.
    void handle_exception(std::uint8_t vector, Code handler);
    /// The same for interrupts; its local APIC is in x2APIC mode from then on.
    void handle(std::uint8_t vector, Code handler);

    void set(std::uint32_t name, std::uint64_t value);
    [[nodiscard]] std::uint64_t get(std::uint32_t name, std::size_t index = 0);

    /// Runs until the guest writes to the report port, and goes on behind that. What it wrote, or
    /// nothing if something else has stopped it: then the message tells.
    [[nodiscard]] std::optional<std::uint32_t> report(std::size_t index = 0);
    [[nodiscard]] const hv_message& message(std::size_t index = 0) {
        return vps_[index]->message();
    }

    template <class T>
    [[nodiscard]] T payload(std::size_t index = 0) {
        T result;
        static_assert(sizeof result <= HV_MESSAGE_PAYLOAD_BYTE_COUNT);
        std::memcpy(&result, message(index).payload, sizeof result);
        return result;
    }

private:
    void create(std::uint32_t processors, std::uint64_t interface);

    std::size_t size_;
    std::uint8_t* memory_ = nullptr;
    bool owns_memory_ = true;
    std::uint64_t next_handler_ = handlers_gpa;
    std::unique_ptr<hv::Hypervisor> hypervisor_;
    std::unique_ptr<hv::Partition> partition_;
    std::vector<std::unique_ptr<hv::VirtualProcessor>> vps_;
};

} // namespace croft::guests
