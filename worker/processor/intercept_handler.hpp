// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/virtual_processor.hpp"
#include "vdev/bus.hpp"
#include "worker/emulate/emulator.hpp"
#include "worker/memory/guest_memory.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace croft::worker {

/// How often a processor did what its worker had to answer. Written by the processor's thread, read
/// by any.
struct InterceptCounters {
    std::atomic<std::uint64_t> ports = 0;
    std::atomic<std::uint64_t> memory = 0;
    std::atomic<std::uint64_t> registers = 0;
    std::atomic<std::uint64_t> interrupts_ended = 0;
    std::atomic<std::uint64_t> hypercalls = 0;
    std::atomic<std::uint64_t> others = 0;
};

/// Answers what one processor's guest did: the intercept messages of the TLFS.
class InterceptHandler {
public:
    /// What the answers need. All of it outlives the handler.
    struct Services {
        vdev::Bus& bus;
        GuestMemory& memory;
        /// A local APIC ended a level-triggered interrupt of this vector.
        std::function<void(std::uint8_t)> end_of_interrupt;
        /// HvCallPostMessage on a connection, with the type and the payload of the message. Answers
        /// an HV_STATUS.
        std::function<std::uint16_t(std::uint32_t, std::uint32_t, std::span<const std::uint8_t>)>
            post_message;
        /// The message slots of these SINTs, a bit for each, have room again.
        std::function<void(std::uint16_t)> slots_free;
    };

    enum class Next {
        run,  ///< The processor can go on.
        idle, ///< It halted; running it again at once would only halt it again.
    };

    InterceptHandler(const Services& services, InterceptCounters& counters)
        : services_(services),
          counters_(counters) {}

    /// Answers the processor's last message. Errors: ProcessorFailure if the guest can't go on,
    /// HypervisorError.
    Next handle(hv::VirtualProcessor& processor);

private:
    using Header = hv_x64_intercept_message_header;

    void handle_port(hv::VirtualProcessor& processor);
    void handle_memory(hv::VirtualProcessor& processor);
    void handle_msr(hv::VirtualProcessor& processor);
    void handle_cpuid(hv::VirtualProcessor& processor);
    void handle_hypercall(hv::VirtualProcessor& processor);
    [[nodiscard]] std::uint16_t post_message(std::uint64_t input);
    void emulate(hv::VirtualProcessor& processor, const Header& header,
        std::span<const std::uint8_t> bytes, const Trap& trap, EmulatorEnvironment& environment);
    void run_again(hv::VirtualProcessor& processor, const Header& header);
    [[nodiscard]] CpuState read_state(hv::VirtualProcessor& processor, const Header& header);
    void inject(hv::VirtualProcessor& processor, const GuestException& exception);
    void end_interrupt_shadow(hv::VirtualProcessor& processor, const Header& header);
    [[noreturn]] void fail(hv::VirtualProcessor& processor, std::string_view text);

    Services services_;
    InterceptCounters& counters_;
    InstructionDecoder decoder_;
    unsigned run_again_in_a_row_ = 0;
};

} // namespace croft::worker
