// SPDX-License-Identifier: Apache-2.0
#include "worker/console/raw_terminal.hpp"

#include <csignal>
#include <unistd.h>

namespace croft::worker {

namespace {

/// Changes a terminal's mode, even from the background, where that would stop the process.
void set_mode(int descriptor, const termios& mode) {
    sigset_t blocked;
    sigset_t before;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTTOU);
    pthread_sigmask(SIG_BLOCK, &blocked, &before);
    tcsetattr(descriptor, TCSADRAIN, &mode);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

} // namespace

RawTerminal::RawTerminal(int descriptor) : descriptor_(descriptor) {
    termios mode{};
    if (isatty(descriptor_) == 0 || tcgetattr(descriptor_, &mode) != 0) {
        return;
    }
    saved_ = mode;
    cfmakeraw(&mode);
    set_mode(descriptor_, mode);
}

RawTerminal::~RawTerminal() {
    restore();
}

void RawTerminal::restore() const {
    if (saved_) {
        set_mode(descriptor_, *saved_);
    }
}

} // namespace croft::worker
