// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/server/host.hpp"
#include "vmbus/server/server.hpp"
#include "vmbus/testing/test_memory.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace croft::vmbus::testing {

/// A virtual machine as far as VMBus sees it: message slots and event flags of its processors, and
/// signals that go to eventfds.
class TestVm final : public Host {
public:
    explicit TestVm(std::uint64_t pages = 1024, ServerLimits limits = {});

    /// A new server in the place of the old one: the VM as it is restored elsewhere.
    void replace_server(ServerLimits limits = {});
    [[nodiscard]] Server& server() { return *server_; }
    [[nodiscard]] TestMemory& test_memory() { return memory_; }

    // What the guest does. A message is taken out of its slot, which is free then.
    [[nodiscard]] std::optional<std::vector<std::uint8_t>> take_message(std::uint32_t vp);
    [[nodiscard]] bool take_flag(std::uint32_t vp, std::uint16_t flag);
    void signal(std::uint32_t connection);

    [[nodiscard]] std::size_t connections() const { return events_.size(); }
    [[nodiscard]] const std::vector<std::string>& reports() const { return reports_; }
    /// Connecting events fails from now on, or not.
    void refuse_events(bool refuse) { refuse_events_ = refuse; }

    // Host
    Posted post_message(std::uint32_t vp, std::span<const std::uint8_t> payload) override;
    void signal_event(std::uint32_t vp, std::uint16_t flag) override;
    [[nodiscard]] bool has_processor(std::uint32_t vp) const override { return vp < processors; }
    [[nodiscard]] bool connect_event(std::uint32_t connection, int event) override;
    void disconnect_event(std::uint32_t connection) override;
    [[nodiscard]] const GuestPages& memory() const override { return memory_.pages(); }
    void report(std::string_view line) override { reports_.emplace_back(line); }

    static constexpr std::uint32_t processors = 4;

private:
    TestMemory memory_;
    std::map<std::uint32_t, std::vector<std::uint8_t>> slots_;
    std::mutex flags_mutex_;
    std::set<std::pair<std::uint32_t, std::uint16_t>> flags_;
    std::map<std::uint32_t, int> events_;
    std::vector<std::string> reports_;
    bool refuse_events_ = false;
    std::unique_ptr<Server> server_;
};

} // namespace croft::vmbus::testing
