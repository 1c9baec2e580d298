// SPDX-License-Identifier: Apache-2.0
#include "provider/nic_service.hpp"

#include "provider/posted_functions.hpp"
#include "vmbus/remote/poll_reactor.hpp"
#include "vmbus/remote/remote_bus.hpp"
#include "vsp/network/adapter.hpp"
#include "vsp/network/link_watch.hpp"
#include "vsp/network/management.hpp"
#include "vsp/threads/ring_threads.hpp"

#include <optional>
#include <utility>

namespace croft::provider {

using vmbus::remote::RemoteBus;
using vsp::network::Adapter;
using vsp::network::ManagedAdapter;

namespace {

class NicService {
public:
    NicService(vmbus::Descriptor socket, vsp::network::BackEnd& back_end,
        const NicServiceSettings& settings)
        : threads_("network", settings.threads),
          adapter_({threads_.rings(),
                       [this](std::function<void()> function) {
                           posted_.post(std::move(function));
                       }},
              back_end, settings.address, settings.mtu) {
        adapter_.set_plugged(settings.plugged);
        if (settings.is_working) {
            watch_.emplace(reactor_,
                [this, is_working = settings.is_working] { adapter_.set_working(is_working()); });
        }
        // Which one it is, is known at the other end.
        bus_.emplace(
            reactor_, std::move(socket), Adapter::offer({}), adapter_,
            [this](const std::string& reason) { end_ = reason; },
            [this](std::span<const std::uint8_t> question,
                const ManagedAdapter::Answered& answered) { managed_.answer(question, answered); });
    }

    std::string run() {
        while (!end_) {
            (void)reactor_.run_once(-1);
        }
        return *end_;
    }

private:
    vmbus::PollReactor reactor_;
    PostedFunctions posted_{reactor_};
    vsp::RingThreads threads_;
    Adapter adapter_;
    ManagedAdapter managed_{
        adapter_, [this] {
            return ManagedAdapter::Condition{bus_->is_idle(), bus_->has_channels()};
        }};
    std::optional<vsp::network::LinkWatch> watch_;
    std::optional<RemoteBus> bus_;
    std::optional<std::string> end_;
};

} // namespace

std::string serve_nic(
    vmbus::Descriptor socket, vsp::network::BackEnd& back_end, const NicServiceSettings& settings) {
    return NicService(std::move(socket), back_end, settings).run();
}

} // namespace croft::provider
