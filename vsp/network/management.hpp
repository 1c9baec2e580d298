// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/record.hpp"
#include "vmbus/remote/management.hpp"
#include "vsp/network/counters.hpp"

#include <cstddef>
#include <functional>
#include <span>

// An adapter in another process: what is asked of it beside VMBus, and the answers. Each is a
// record, which checks what is read from it; neither end trusts the other.
namespace croft::vsp::network {

class Adapter;

/// How an adapter is at a moment.
struct AdapterReport {
    bool plugged = false;
    bool connected = false;
    std::size_t channels = 0;
    Statistics statistics;

    [[nodiscard]] static AdapterReport of(const Adapter& adapter);
};

/// In the adapter's process: does what is asked.
class ManagedAdapter {
public:
    /// What the adapter may be asked for depends on it.
    struct Condition {
        /// Stopped, with nothing under way.
        bool idle = false;
        bool has_channels = false;
    };

    /// `adapter` outlives the object.
    ManagedAdapter(Adapter& adapter, std::function<Condition()> condition);

    using Answered = std::function<void(vmbus::remote::Bytes answer)>;

    /// The bus's thread, on which it is also answered, perhaps later. Says in the answer what is
    /// wrong with the question, if it is.
    void answer(std::span<const std::uint8_t> question, const Answered& answered);

private:
    [[nodiscard]] vdev::Record handle(const vdev::Record& question);
    void answer_idle(const Answered& answered);
    void require_idle(bool without_channels) const;

    Adapter& adapter_;
    std::function<Condition()> condition_;
};

/// In the process that has VMBus: the adapter as it is seen from there. Errors of all that is
/// asked: what `exchange` throws, DeviceError with the other end's reason, RecordError for an
/// answer that isn't one.
class DistantAdapter {
public:
    /// Brings a question there and the answer back.
    using Exchange = std::function<vmbus::remote::Bytes(const vmbus::remote::Bytes& question)>;

    explicit DistantAdapter(Exchange exchange) : exchange_(std::move(exchange)) {}

    void set_plugged(bool plugged) const;
    /// As Adapter's.
    void take_leave() const;
    [[nodiscard]] bool is_idle() const;
    [[nodiscard]] AdapterReport report() const;
    /// As well, and what was saved has been looked through.
    [[nodiscard]] vdev::Record save() const;
    void restore(const vdev::Record& record) const;
    void reset() const;

private:
    [[nodiscard]] vdev::Record ask(const vdev::Record& question) const;

    Exchange exchange_;
};

} // namespace croft::vsp::network
