// SPDX-License-Identifier: Apache-2.0
//
// The frames between the lab and its agent in the root, over one virtio-serial port. Both ends are
// little-endian x86-64. A frame is a FrameHeader and `length` bytes; `channel` is the number that
// the lab gave to a command. lab/agent_link.py is the other end.
#pragma once

#include <cstdint>

namespace croft::agent {

inline constexpr std::uint32_t frame_magic = 0x54465243; // "CRFT"
inline constexpr std::uint32_t protocol_version = 1;
inline constexpr std::uint32_t max_payload = 64 * 1024;

// What a command may have of its input in flight: the lab sends no more than this before it hears
// Consumed, so that a command that doesn't read can't hold up the others.
inline constexpr std::uint32_t input_window = 256 * 1024;

enum class FrameType : std::uint32_t {
    // from the lab
    start = 1,  // StartHeader, then `strings` strings that end in NUL: directory, arguments, then
                // environment as NAME=value
    input = 2,  // bytes for the command's standard input; none closes it
    signal = 3, // uint32: signal for the command's process group
    resize = 4, // uint16 rows, uint16 columns of the command's terminal

    // from the agent
    hello = 16,    // uint32: protocol_version; the first frame after each start of the root
    output = 17,   // bytes of standard output (of the terminal, if it has one)
    error = 18,    // bytes of standard error
    exited = 19,   // uint32: exit status, or 256 + signal; the last frame of its channel
    failed = 20,   // text: why the command couldn't be started; the last frame of its channel
    consumed = 21, // uint32: bytes of input that the command has taken
};

struct FrameHeader {
    std::uint32_t magic;
    FrameType type;
    std::uint32_t channel;
    std::uint32_t length;
};
static_assert(sizeof(FrameHeader) == 16);

struct StartHeader {
    std::uint16_t terminal; // 1: run it on a pseudo-terminal
    std::uint16_t rows;
    std::uint16_t columns;
    std::uint16_t reserved;
    std::uint32_t arguments;
    std::uint32_t environment;
};
static_assert(sizeof(StartHeader) == 16);

} // namespace croft::agent
