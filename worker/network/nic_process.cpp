// SPDX-License-Identifier: Apache-2.0
#include "worker/network/nic_process.hpp"

#include "vsp/network/adapter.hpp"
#include "vsp/network/adapter_state.hpp"
#include "worker/error.hpp"
#include "worker/settings/mac.hpp"

#include <cstdio>
#include <fmt/format.h>
#include <future>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

namespace croft::worker {

namespace {

using vmbus::remote::Bytes;
using vmbus::remote::RemoteService;
using vsp::network::Adapter;

constexpr const char* program = "croft-nic";

std::vector<std::string> arguments_for(const NicSettings& nic, std::size_t threads) {
    std::vector<std::string> words = {"--tap", nic.tap, "--mac", nic.mac, "--queues",
        fmt::format("{}", nic.queues), "--threads", fmt::format("{}", threads)};
    if (!nic.bridge.empty()) {
        words.insert(words.end(), {"--bridge", nic.bridge});
    }
    if (nic.mtu != 0) {
        words.insert(words.end(), {"--mtu", fmt::format("{}", nic.mtu)});
    }
    if (!nic.connected) {
        words.emplace_back("--unplugged");
    }
    return words;
}

} // namespace

NicProcess::NicProcess(const NicSettings& nic, std::size_t threads, VmbusDevice& bus, IoLoop& loop)
    : number_(nic.number.value()),
      address_(parse_mac(nic.mac).value()),
      bus_(bus),
      loop_(loop),
      process_(program, arguments_for(nic, threads)),
      adapter_([this](const Bytes& question) { return exchange(question); }),
      reactor_(loop),
      completer_(std::make_unique<vsp::network::SendCompleter>(reactor_)) {
    process_.wait_until_heard(RemoteService::patience);
    try {
        connect();
    } catch (...) {
        take_away();
        throw;
    }
}

NicProcess::~NicProcess() {
    take_away();
}

/// What it is, is known already, and which one it is isn't its to say.
RemoteService::Events NicProcess::events() {
    return {
        [](const vmbus::Offer& offer) {
            return offer == Adapter::offer({}) ? "" : "found an offer of another kind of device";
        },
        [this] { how_it_ended_ = process_.end(); },
        [this](const std::string& reason) { lost(reason); },
        completer_.get(),
    };
}

void NicProcess::connect() {
    const auto refuse_if_lost = [this] {
        if (is_lost_) {
            throw SystemError(fmt::format("network adapter {}: {}", number_, why_lost_));
        }
    };
    bus_.call([this] {
        service_ = std::make_unique<RemoteService>(
            reactor_, process_.take_socket(), bus_.memory_file(), events());
        service_->greet();
    });
    refuse_if_lost();
    const vmbus::Server::DeviceId id = bus_.add(Adapter::offer(instance_of(number_)), *service_);
    bus_.call([this, id] { id_ = id; });
    refuse_if_lost();
}

void NicProcess::take_away() {
    bus_.remove(id_);
    bus_.call([this] {
        service_.reset();
        completer_.reset();
    });
}

void NicProcess::lost(const std::string& reason) {
    why_lost_ = reason.empty()
        ? fmt::format("its process, {} {}, {}", program, process_.id(), how_it_ended_)
        : reason;
    is_lost_ = true;
    if (id_ != 0) {
        fmt::print(stderr,
            "network adapter {}: its process, {} {}, {}; the guest has lost the adapter and runs "
            "on\r\n",
            number_, program, process_.id(),
            reason.empty() ? how_it_ended_ : fmt::format("was sent away: {}", reason));
        completer_->wait_for_silence([this] { bus_.withdraw(id_); });
    }
}

Bytes NicProcess::exchange(const Bytes& question) const {
    std::promise<std::optional<Bytes>> answered;
    loop_.post([&] {
        service_->ask(question,
            [&answered](std::optional<Bytes> answer) { answered.set_value(std::move(answer)); });
    });
    std::optional<Bytes> answer = answered.get_future().get();
    if (!answer) {
        throw SystemError(fmt::format("network adapter {}: found its process ended, expected it to "
                                      "run; remove the adapter and add it again",
            number_));
    }
    return *std::move(answer);
}

void NicProcess::begin_leave() {
    try {
        adapter_.take_leave();
    } catch (const Error&) { // it has left
    }
}

bool NicProcess::is_idle() {
    try {
        return adapter_.is_idle();
    } catch (const Error&) {
        return true; // nothing more will come of it
    }
}

bool NicProcess::withdraw(std::chrono::milliseconds patience) {
    return bus_.withdraw_and_wait(id_, patience);
}

void NicProcess::set_plugged(bool plugged) {
    adapter_.set_plugged(plugged);
}

nlohmann::json NicProcess::statistics() const {
    try {
        last_report_ = adapter_.report();
    } catch (const Error&) {
        last_report_.plugged = false;
        last_report_.connected = false;
        last_report_.channels = 0;
    }
    nlohmann::json found = describe(number_, address_, last_report_);
    found["process"] = is_lost_ ? nlohmann::json() : nlohmann::json(process_.id());
    return found;
}

vdev::Record NicProcess::save() const {
    return is_lost_ ? vsp::network::AdapterState({}, {}, address_, {}).save() : adapter_.save();
}

void NicProcess::restore(const vdev::Record& record) {
    try {
        adapter_.restore(record);
    } catch (const SystemError& error) {
        throw vdev::RecordError(error.what());
    }
}

/// A machine that is switched off can't wait for one that doesn't want to.
void NicProcess::reset() {
    try {
        adapter_.reset();
    } catch (const Error& error) {
        bus_.call([&] { service_->send_away(error.what()); });
    }
}

} // namespace croft::worker
