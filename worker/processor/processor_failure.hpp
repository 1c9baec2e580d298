// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/virtual_processor.hpp"
#include "worker/error.hpp"

#include <string>
#include <utility>
#include <vector>

namespace croft::worker {

/// A guest that can't go on because of what one of its processors did, with that processor's state.
class ProcessorFailure : public GuestError {
public:
    ProcessorFailure(const std::string& text, std::vector<std::string> state)
        : GuestError(text),
          state_(std::move(state)) {}

    /// The registers, as lines for a log.
    [[nodiscard]] const std::vector<std::string>& state() const { return state_; }

private:
    std::vector<std::string> state_;
};

/// A processor's registers, as lines for a log. Says so where they can't be read.
[[nodiscard]] std::vector<std::string> describe_state(hv::VirtualProcessor& processor);

} // namespace croft::worker
