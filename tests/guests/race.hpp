// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/virtual_processor.hpp"
#include "tests/guests/guest_machine.hpp"
#include "tests/guests/race_steps.hpp"
#include "vdev/bus.hpp"
#include "worker/memory/guest_memory.hpp"
#include "worker/processor/intercept_handler.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace croft::guests {

/// A guest of two processors: one runs instructions that the hypervisor or the worker carries out,
/// the other rewrites them meanwhile, and the page tables that lead to them. Whatever was there
/// when the processor left the guest and when the instruction was looked at, the guest sees one of
/// the instructions done as a whole, and if nothing has changed during a round, the one that was
/// there.
class Race final : public vdev::MmioHandler, public vdev::PortHandler {
public:
    explicit Race(std::uint64_t seed);

    struct Counts {
        /// Rounds during which nothing has changed, by what was to be seen.
        std::map<std::string, std::uint64_t> steady;
        std::uint64_t raced = 0;
        /// What no instruction that was there could have led to.
        std::vector<std::string> wrong;
    };
    [[nodiscard]] Counts run_for(std::chrono::seconds time);

private:
    std::uint64_t mmio_read(std::uint64_t offset, unsigned size) override;
    void mmio_write(std::uint64_t offset, unsigned size, std::uint64_t value) override;
    std::uint32_t port_read(std::uint16_t port, unsigned size) override;
    void port_write(std::uint16_t port, unsigned size, std::uint32_t value) override;

    GuestMachine& start();
    void prepare_next_round();
    void judge_round();
    void note_wrong(const std::string& what);
    void run(std::size_t index);
    [[nodiscard]] volatile race::Area& area() const;

    worker::GuestMemory memory_{{{0, race::memory_size}}};
    GuestMachine machine_;
    vdev::Bus bus_;
    vdev::Claim devices_;
    vdev::Claim input_;
    vdev::Claim report_;
    race::Steps steps_;
    std::uint64_t random_;
    std::atomic<bool> ends_{false};
    std::mutex mutex_; ///< of what is wrong
    Counts counts_;
};

} // namespace croft::guests
