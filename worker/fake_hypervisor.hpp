// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/error.hpp"
#include "hv/hypervisor.hpp"
#include "hv/register.hpp"

#include <cerrno>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <poll.h>
#include <set>
#include <utility>
#include <vector>

/// A hypervisor whose guests do what a test has written down, for everything above hv/ to be tested
/// without one.
namespace croft::worker {

/// What a guest does: the messages its processor is intercepted with, in order. After the last it
/// runs on until a signal comes, for ever.
using GuestScript = std::vector<hv_message>;

template <typename Payload>
hv_message make_message(std::uint32_t type, const Payload& payload) {
    hv_message message{};
    message.header.message_type = type;
    message.header.payload_size = sizeof(Payload);
    std::memcpy(message.payload, &payload, sizeof(Payload));
    return message;
}

/// An instruction at 0x1000 in 64-bit mode, of `length` bytes.
inline hv_x64_intercept_message_header make_header(unsigned length, unsigned access) {
    hv_x64_intercept_message_header header{};
    header.instruction_length = length & 0xfU;
    header.intercept_access_type = static_cast<std::uint8_t>(access);
    header.execution_state.cr0_pe = 1;
    header.execution_state.efer_lma = 1;
    header.cs_segment.long_mode = 1;
    header.rip = 0x1000;
    header.rflags = 2;
    return header;
}

inline hv_message make_port_access(
    std::uint16_t port, unsigned size, unsigned access, std::uint64_t value) {
    hv_x64_io_port_intercept_message message{};
    message.header = make_header(1, access);
    message.port_number = port;
    message.access_size = size & 7U;
    message.rax = value;
    return make_message(HVMSG_X64_IO_PORT_INTERCEPT, message);
}

inline hv_message make_memory_access(std::uint64_t gpa, unsigned access,
    const std::vector<std::uint8_t>& code, std::optional<std::uint64_t> gva = std::nullopt) {
    hv_x64_memory_intercept_message message{};
    message.header = make_header(0, access);
    message.guest_physical_address = gpa;
    message.gva_valid = gva ? 1 : 0;
    message.gva_gpa_valid = gva ? 1 : 0;
    message.guest_virtual_address = gva.value_or(0);
    message.instruction_byte_count = static_cast<std::uint8_t>(code.size());
    std::copy(code.begin(), code.end(), message.instruction_bytes);
    return make_message(HVMSG_UNMAPPED_GPA, message);
}

class FakeProcessor final : public hv::VirtualProcessor {
public:
    explicit FakeProcessor(std::uint32_t index, GuestScript script = {})
        : index_(index),
          script_(std::move(script)) {}

    [[nodiscard]] std::uint32_t index() const override { return index_; }
    hv::RunResult run() override {
        if (next_ == script_.size()) {
            ::poll(nullptr, 0, -1);
            return hv::RunResult::interrupted;
        }
        message_ = script_[next_++];
        return hv::RunResult::intercepted;
    }
    [[nodiscard]] const hv_message& message() const override { return message_; }
    void get_registers(std::span<hv_register_assoc> wanted) override {
        for (hv_register_assoc& entry : wanted) {
            entry.value = registers[entry.name];
        }
    }
    void set_registers(std::span<const hv_register_assoc> given) override {
        for (const hv_register_assoc& entry : given) {
            registers[entry.name] = entry.value;
        }
    }
    [[nodiscard]] std::vector<std::uint8_t> get_state(hv::VpState) override { return {}; }
    void set_state(hv::VpState, std::span<const std::uint8_t>) override {}
    /// By default a virtual address is the physical one.
    [[nodiscard]] hv::Translation translate(std::uint64_t gva, std::uint64_t) override {
        ++translations;
        return translator ? translator(gva) : hv::Translation{HV_TRANSLATE_GVA_SUCCESS, gva};
    }
    [[nodiscard]] std::vector<std::uint32_t> cpuid(std::uint32_t, std::uint32_t) override {
        return {0, 0, 0, 0};
    }

    [[nodiscard]] std::uint64_t value(std::uint32_t name) { return registers[name].reg64; }
    void set_value(std::uint32_t name, std::uint64_t value) { registers[name].reg64 = value; }
    void set_message(const hv_message& message) { message_ = message; }

    std::map<std::uint32_t, hv_register_value> registers;
    std::function<hv::Translation(std::uint64_t)> translator;
    unsigned translations = 0;

private:
    std::uint32_t index_;
    GuestScript script_;
    std::size_t next_ = 0;
    hv_message message_{};
};

/// What a test wants to know of all partitions.
struct FakeRecord {
    /// What each processor of each partition, both counted from 0, does.
    std::function<GuestScript(unsigned partition, std::uint32_t processor)> script;
    unsigned partitions = 0;
    std::mutex mutex;
    std::vector<hv::InterruptRequest> interrupts;
    std::map<std::uint64_t, int> doorbells;
    /// Numbers of the pages that guests have written.
    std::set<std::uint64_t> dirty;
};

class FakePartition final : public hv::Partition {
public:
    FakePartition(FakeRecord& record, unsigned number) : record_(record), number_(number) {}

    [[nodiscard]] std::uint64_t property(hv_partition_property_code code) const override {
        return properties_.contains(code) ? properties_.at(code) : 0;
    }
    void set_property(hv_partition_property_code code, std::uint64_t value) override {
        properties_[code] = value;
    }
    void initialize() override {}
    void map_memory(const hv::MemoryMapping&) override {}
    void unmap_memory(const hv::MemoryMapping&) override {}
    /// Knows dirty pages, and nothing of those that were only read.
    [[nodiscard]] std::vector<std::uint64_t> page_access(hv::PageAccess access,
        hv::PageAccessUpdate update, std::uint64_t first_page, std::uint64_t page_count) override {
        std::vector<std::uint64_t> bitmap((page_count + 63) / 64);
        const std::lock_guard lock(record_.mutex);
        for (std::uint64_t i = 0; access == hv::PageAccess::dirty && i < page_count; ++i) {
            if (!record_.dirty.contains(first_page + i)) {
                continue;
            }
            bitmap[i / 64] |= std::uint64_t{1} << (i % 64);
            if (update == hv::PageAccessUpdate::clear) {
                record_.dirty.erase(first_page + i);
            }
        }
        return bitmap;
    }
    [[nodiscard]] std::unique_ptr<hv::VirtualProcessor> create_vp(std::uint32_t index) override {
        return std::make_unique<FakeProcessor>(
            index, record_.script ? record_.script(number_, index) : GuestScript{});
    }
    void assert_interrupt(const hv::InterruptRequest& request) override {
        const std::lock_guard lock(record_.mutex);
        record_.interrupts.push_back(request);
    }
    void connect_interrupt(int, std::uint32_t, std::optional<int>) override {}
    void disconnect_interrupt(int, std::uint32_t) override {}
    void route_interrupts(std::span<const hv::MsiRoute>) override {}
    void connect_doorbell(const hv::Doorbell& doorbell) override {
        record_.doorbells[doorbell.gpa] = doorbell.event;
    }
    void disconnect_doorbell(const hv::Doorbell& doorbell) override {
        record_.doorbells.erase(doorbell.gpa);
    }
    void install_intercept(hv_intercept_type, std::uint32_t, std::uint64_t) override {}
    void register_cpuid(const hv::CpuidAnswer&) override {}
    void register_msr(std::uint32_t, std::uint32_t, hv_unimplemented_msr_action) override {}
    bool signal_event(std::uint32_t, std::uint8_t, std::uint16_t) override { return true; }
    bool post_message(std::uint32_t, std::uint8_t, const hv_message&) override { return true; }
    void notify_deliverable(std::uint32_t, std::uint16_t) override {}

private:
    FakeRecord& record_;
    unsigned number_;
    std::map<hv_partition_property_code, std::uint64_t> properties_;
};

class FakeHypervisor final : public hv::Hypervisor {
public:
    [[nodiscard]] std::unique_ptr<hv::Partition> create_partition(
        const hv::PartitionSettings&) override {
        return std::make_unique<FakePartition>(record, record.partitions++);
    }

    FakeRecord record;
};

} // namespace croft::worker
