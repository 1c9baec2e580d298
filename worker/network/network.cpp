// SPDX-License-Identifier: Apache-2.0
#include "worker/network/network.hpp"

#include "worker/error.hpp"
#include "worker/network/network_device.hpp"
#include "worker/network/nic_process.hpp"
#include "worker/settings/mac.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <utility>

namespace croft::worker {

namespace {

constexpr const char* network_record = "network";
constexpr const char* nic_record = "nic";
constexpr std::uint32_t network_version = 1;

/// More serve nobody: each of them goes through the host's network stack itself.
constexpr std::size_t most_threads = 4;

/// Those that say where they belong have their places before the others look for one.
std::vector<NicSettings> in_order(std::vector<NicSettings> nics) {
    std::ranges::stable_partition(
        nics, [](const NicSettings& nic) { return nic.number.has_value(); });
    return nics;
}

} // namespace

Network::Network(const Settings& settings, VmbusDevice& bus, IoLoop& loop)
    : bus_(bus),
      loop_(loop),
      machine_(settings.name),
      processors_(settings.processor.count) {
    for (NicSettings& nic : in_order(settings.nics)) {
        add(std::move(nic));
    }
}

Network::~Network() = default;

std::uint32_t Network::free_number() const {
    std::uint32_t number = 0;
    while (nics_.contains(number)) {
        ++number;
    }
    return number;
}

Network::Attached& Network::attached(std::uint32_t number) {
    const auto found = nics_.find(number);
    if (found == nics_.end()) {
        throw SettingsError(fmt::format("machine {}: found no network adapter {}, expected one of "
                                        "the {} there are; name one that is listed",
            machine_, number, nics_.size()));
    }
    return found->second;
}

std::vector<NicSettings> Network::nics() const {
    std::vector<NicSettings> result;
    result.reserve(nics_.size());
    for (const auto& [number, nic] : nics_) {
        result.push_back(nic.settings);
    }
    return result;
}

/// What the settings leave open.
void Network::complete(NicSettings& nic) const {
    nic.number = nic.number.value_or(free_number());
    if (nic.mac.empty()) {
        nic.mac = text_of(default_address(machine_, *nic.number));
    }
    if (nic.queues == 0) {
        nic.queues = std::min(processors_, NicSettings::most_queues_by_default);
    }
}

std::unique_ptr<Nic> Network::make(const NicSettings& nic) {
    const std::size_t threads = std::min<std::size_t>(processors_, most_threads);
    if (nic.process == NicSettings::Process::own) {
        return std::make_unique<NicProcess>(
            nic, std::min<std::size_t>(threads, nic.queues), bus_, loop_);
    }
    if (threads_ == nullptr) {
        threads_ = std::make_unique<vsp::RingThreads>("network", threads);
    }
    return std::make_unique<NetworkDevice>(nic, *threads_, bus_, loop_);
}

std::uint32_t Network::add(NicSettings nic) {
    complete(nic);
    const std::uint32_t number = *nic.number;
    if (number >= NicSettings::most || nics_.contains(number)) {
        throw SettingsError(
            fmt::format("network adapter {}: found {}, expected a free number below "
                        "{}; remove an adapter first, or choose another number",
                number, number < NicSettings::most ? "another one there" : "no free number",
                NicSettings::most));
    }
    for (const auto& [other, attached] : nics_) {
        if (attached.settings.tap == nic.tap) {
            throw SettingsError(fmt::format("network adapter {}: found device {} taken by adapter "
                                            "{}, expected one of its own; name another",
                number, nic.tap, other));
        }
    }
    std::unique_ptr<Nic> device = make(nic);
    nics_.emplace(number, Attached{std::move(nic), std::move(device)});
    return number;
}

void Network::remove(std::uint32_t number) {
    if (!attached(number).device->take_leave()) {
        fmt::print(stderr,
            "network adapter {}: found the guest keeping it for seconds after it was told that it "
            "goes, expected it to give it back; it is removed none the less\r\n",
            number);
    }
    nics_.erase(number);
}

void Network::set_plugged(std::uint32_t number, bool plugged) {
    Attached& nic = attached(number);
    nic.device->set_plugged(plugged);
    nic.settings.connected = plugged;
}

nlohmann::json Network::statistics() const {
    nlohmann::json found = nlohmann::json::array();
    for (const auto& [number, nic] : nics_) {
        found.push_back(nic.device->statistics());
    }
    return found;
}

vdev::Record Network::save() const {
    std::vector<vdev::Record> saved;
    for (const auto& [number, nic] : nics_) {
        vdev::Record record(nic_record, network_version);
        record.set("number", number).set_records("state", {nic.device->save()});
        saved.push_back(std::move(record));
    }
    vdev::Record record(network_record, network_version);
    record.set_records("nics", saved);
    return record;
}

void Network::restore(const vdev::Record& record) {
    record.expect(network_record, network_version);
    const std::vector<vdev::Record> saved = record.get_records("nics");
    if (saved.size() != nics_.size()) {
        throw vdev::RecordError(fmt::format("saved state: found {} network adapters, expected {}; "
                                            "restore it into a VM of the same settings",
            saved.size(), nics_.size()));
    }
    std::vector<std::pair<Nic*, vdev::Record>> found;
    auto nic = nics_.begin();
    for (const vdev::Record& one : saved) {
        one.expect(nic_record, network_version);
        const auto number = one.get<std::uint32_t>("number");
        const std::vector<vdev::Record> state = one.get_records("state");
        if (number != nic->first || state.size() != 1) {
            throw vdev::RecordError(fmt::format("saved state: found network adapter {}, expected "
                                                "{}; restore it into a VM of the same settings",
                number, nic->first));
        }
        found.emplace_back(nic->second.device.get(), state.front());
        ++nic;
    }
    for (const auto& [device, state] : found) {
        device->restore(state);
    }
}

void Network::reset() {
    for (const auto& [number, nic] : nics_) {
        nic.device->reset();
    }
}

void Network::remove() {
    nics_.clear();
}

} // namespace croft::worker
