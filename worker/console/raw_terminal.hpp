// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <termios.h>

namespace croft::worker {

/// Puts a terminal into raw mode, in which each key goes to the VM at once, and back when its owner
/// goes. Does nothing to what isn't a terminal.
class RawTerminal {
public:
    explicit RawTerminal(int descriptor);
    ~RawTerminal();
    RawTerminal(const RawTerminal&) = delete;
    RawTerminal& operator=(const RawTerminal&) = delete;

    /// As it was, from now on.
    void restore() const;

    [[nodiscard]] bool is_terminal() const { return saved_.has_value(); }

private:
    int descriptor_;
    std::optional<termios> saved_;
};

} // namespace croft::worker
