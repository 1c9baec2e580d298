// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

namespace croft::worker {

/// Takes commands for the worker out of what is typed at the VM's terminal: Ctrl-] and a letter.
/// Ctrl-] twice is one Ctrl-] for the VM.
class EscapeFilter {
public:
    static constexpr std::uint8_t escape_key = 0x1d;

    /// `command` gets the key after the escape key.
    explicit EscapeFilter(std::function<void(char)> command) : command_(std::move(command)) {}

    /// What of the input is for the VM.
    [[nodiscard]] std::vector<std::uint8_t> pass(std::span<const std::uint8_t> input) {
        std::vector<std::uint8_t> passed;
        for (const std::uint8_t byte : input) {
            if (std::exchange(escaped_, false)) {
                if (byte == escape_key) {
                    passed.push_back(byte);
                } else {
                    command_(static_cast<char>(byte));
                }
            } else if (byte == escape_key) {
                escaped_ = true;
            } else {
                passed.push_back(byte);
            }
        }
        return passed;
    }

private:
    std::function<void(char)> command_;
    bool escaped_ = false;
};

} // namespace croft::worker
