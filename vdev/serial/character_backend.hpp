// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace croft::vdev {

/// The device's side of a character stream.
class CharacterSink {
public:
    virtual ~CharacterSink() = default;
    /// Input has arrived. Answers how many bytes were taken; the rest is offered again after
    /// `CharacterBackend::input_wanted`.
    virtual std::size_t receive(std::span<const std::uint8_t> bytes) = 0;
    /// A back end that was full takes output again.
    virtual void output_possible() = 0;
};

/// What a serial port is plugged into. All of it may be called from any thread and none of it
/// blocks.
class CharacterBackend {
public:
    virtual ~CharacterBackend() = default;

    /// Says who gets input; null unplugs, and on return no call to the old sink is running.
    virtual void connect(CharacterSink* sink) = 0;

    /// Takes output to be written soon. Answers false if it is full now: the bytes are still taken,
    /// the sender should wait for `output_possible` before it sends more.
    virtual bool send(std::span<const std::uint8_t> bytes) = 0;

    /// The sink has room for input again.
    virtual void input_wanted() = 0;
};

} // namespace croft::vdev
