// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/abi.hpp"
#include "hv/virtual_processor.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace croft::hv {

/// What a partition is born with.
struct PartitionSettings {
    /// The hypervisor emulates the local APICs.
    bool local_apic = true;
    /// The local APICs offer x2APIC mode.
    bool x2apic = true;
    /// Guest memory may be mapped in pages of 2 MiB.
    bool large_pages = true;
    /// Threads of one core are shown to the guest as such.
    bool smt = false;
    /// The guest may be a hypervisor.
    bool nested = false;
    /// Processor features to take away (HV_PARTITION_PROCESSOR_FEATURES, two banks).
    std::array<std::uint64_t, 2> disabled_processor_features{};
    /// XSAVE features to take away (HV_PARTITION_PROCESSOR_XSAVE_FEATURES).
    std::uint64_t disabled_xsave_features = 0;
};

/// A range of the caller's memory that becomes guest memory. Everything a multiple of 4 KiB.
struct MemoryMapping {
    std::uint64_t gpa = 0;
    std::uint64_t size = 0;
    void* address = nullptr;
    bool writable = true;
    bool executable = true;
};

/// An interrupt for local APICs (HvCallAssertVirtualInterrupt).
struct InterruptRequest {
    hv_interrupt_type type = HV_X64_INTERRUPT_TYPE_FIXED;
    std::uint32_t vector = 0;
    /// An APIC id, or a logical destination.
    std::uint64_t destination = 0;
    bool logical = false;
    bool level = false;
};

/// One entry of the partition's table from interrupt numbers of event files to MSIs.
struct MsiRoute {
    std::uint32_t number = 0;
    std::uint32_t address = 0;
    std::uint32_t data = 0;
};

/// A guest physical address whose writes ring an event file and cause no intercept.
struct Doorbell {
    std::uint64_t gpa = 0;
    /// 1, 2, 4 or 8 bytes; 0 for any.
    std::uint32_t size = 0;
    /// Only writes of this value.
    std::optional<std::uint64_t> value;
    /// An eventfd.
    int event = -1;
};

/// What CPUID is to answer: of each of EAX, EBX, ECX and EDX the bits of a mask. Bits that follow
/// the processor's state stay its own.
struct CpuidAnswer {
    std::uint32_t leaf = 0;
    /// Without one, for all that have none of their own.
    std::optional<std::uint32_t> subleaf{};
    /// Without one, for all processors, now and later.
    std::optional<std::uint32_t> vp{};
    std::array<std::uint32_t, 4> value{};
    std::array<std::uint32_t, 4> mask{};
};

enum class PageAccess { accessed, dirty };
enum class PageAccessUpdate { keep, clear, set };

/// One virtual machine as the hypervisor sees it. It and all its VPs end when the last of the
/// objects is destroyed. Calls may come from any thread unless they say otherwise; each throws
/// HypervisorError if the hypervisor refuses.
class Partition {
public:
    Partition() = default;
    Partition(const Partition&) = delete;
    Partition& operator=(const Partition&) = delete;
    virtual ~Partition() = default;

    /// Partition properties (TLFS "Partition Properties"). Some can only be set before
    /// `initialize`, as HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES, the others only after it.
    [[nodiscard]] virtual std::uint64_t property(hv_partition_property_code code) const = 0;
    virtual void set_property(hv_partition_property_code code, std::uint64_t value) = 0;

    /// Ends the time of early properties (HvCallInitializePartition).
    virtual void initialize() = 0;

    /// The memory stays the caller's and has to stay mapped until it is unmapped here.
    virtual void map_memory(const MemoryMapping& mapping) = 0;
    virtual void unmap_memory(const MemoryMapping& mapping) = 0;

    /// Which of `page_count` pages from page number `first_page` were used, one bit a page, lowest
    /// first; and what shall be noted for them then: a page that was not accessed is not dirty, one
    /// that is dirty was accessed. What is mapped in 2 MiB has one state for all of them, unless
    /// HV_PARTITION_PROPERTY_GPA_PAGE_ACCESS_TRACKING is 1.
    [[nodiscard]] virtual std::vector<std::uint64_t> page_access(PageAccess access,
        PageAccessUpdate update, std::uint64_t first_page, std::uint64_t page_count) = 0;

    /// Creates a VP in its state after power-on; all but the first wait for a startup interrupt.
    [[nodiscard]] virtual std::unique_ptr<VirtualProcessor> create_vp(std::uint32_t index) = 0;

    virtual void assert_interrupt(const InterruptRequest& request) = 0;

    /// From now on, a write to the eventfd `event` asserts the MSI that `number` is routed to. With
    /// `ended`, an eventfd that is rung at the end of a level-triggered interrupt.
    virtual void connect_interrupt(int event, std::uint32_t number, std::optional<int> ended) = 0;
    virtual void disconnect_interrupt(int event, std::uint32_t number) = 0;
    /// Replaces the whole table.
    virtual void route_interrupts(std::span<const MsiRoute> routes) = 0;

    virtual void connect_doorbell(const Doorbell& doorbell) = 0;
    virtual void disconnect_doorbell(const Doorbell& doorbell) = 0;

    /// Asks for intercepts of one kind (HvCallInstallIntercept). `access` is
    /// HV_INTERCEPT_ACCESS_MASK_…
    virtual void install_intercept(
        hv_intercept_type type, std::uint32_t access, std::uint64_t parameter) = 0;

    /// In place of an earlier one for the same (HvCallRegisterInterceptResult).
    virtual void register_cpuid(const CpuidAnswer& answer) = 0;

    /// What accesses to an MSR do that the hypervisor doesn't know, in place of
    /// HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION. `access` is HV_INTERCEPT_ACCESS_MASK_…
    /// (HvCallRegisterInterceptResult).
    virtual void register_msr(
        std::uint32_t msr, std::uint32_t access, hv_unimplemented_msr_action action) = 0;

    /// Sets an event flag of a VP (HvCallSignalEventDirect); answers whether it was clear.
    virtual bool signal_event(std::uint32_t vp, std::uint8_t sint, std::uint16_t flag) = 0;

    /// Puts a message into a VP's SINT (HvCallPostMessageDirect). Answers false if the last one
    /// there hasn't been taken yet.
    virtual bool post_message(std::uint32_t vp, std::uint8_t sint, const hv_message& message) = 0;

    /// Asks to be told when the message slots of these SINTs of a VP are free, a bit for each; in
    /// place of what was asked before. The answer is an intercept of the VP, once for each slot,
    /// at once if it is free already: see hv/deliverability.hpp. The VP may be running.
    virtual void notify_deliverable(std::uint32_t vp, std::uint16_t sints) = 0;
};

} // namespace croft::hv
