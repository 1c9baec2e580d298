// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/device.hpp"
#include "vsp/threads/ring_threads.hpp"
#include "worker/executor/io_loop.hpp"
#include "worker/network/nic.hpp"
#include "worker/settings/settings.hpp"
#include "worker/vmbus/vmbus_device.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace croft::worker {

/// A VM's network adapters, which come and go while its guest runs. Calls are the control thread's.
class Network final : public vdev::Device {
public:
    /// Opens those of the settings. `bus` and `loop`, its thread, outlive the object. Errors:
    /// SystemError, SettingsError as of `add`.
    Network(const Settings& settings, VmbusDevice& bus, IoLoop& loop);
    ~Network() override;

    /// The lowest number first, each with what its settings left open.
    [[nodiscard]] std::vector<NicSettings> nics() const;
    /// Answers its number. Errors: SystemError for the TAP device; SettingsError if there is no
    /// room, or another adapter has the number or the device.
    std::uint32_t add(NicSettings nic);
    /// The guest sees its link go down first, and gets some seconds to end what it does. Returns
    /// when the guest has lost it and the TAP device is closed. Errors: SettingsError where there
    /// is none.
    void remove(std::uint32_t number);
    /// Plugs one in or out, as a cable. Errors: SettingsError where there is none.
    void set_plugged(std::uint32_t number, bool plugged);
    /// Of all, for the control socket.
    [[nodiscard]] nlohmann::json statistics() const;

    [[nodiscard]] std::string_view name() const override { return "network"; }
    void configure(vdev::Platform&) override {}
    /// VMBus starts and stops the adapters.
    void start() override {}
    void stop() override {}
    [[nodiscard]] vdev::Record save() const override;
    void restore(const vdev::Record& record) override;
    void reset() override;
    void remove() override;

private:
    struct Attached {
        NicSettings settings;
        std::unique_ptr<Nic> device;
    };

    [[nodiscard]] Attached& attached(std::uint32_t number);
    [[nodiscard]] std::uint32_t free_number() const;
    void complete(NicSettings& nic) const;
    [[nodiscard]] std::unique_ptr<Nic> make(const NicSettings& nic);

    VmbusDevice& bus_;
    IoLoop& loop_;
    const std::string machine_;
    const std::uint32_t processors_;
    /// Of the adapters in the worker; none before the first.
    std::unique_ptr<vsp::RingThreads> threads_;
    /// By number.
    std::map<std::uint32_t, Attached> nics_;
};

} // namespace croft::worker
