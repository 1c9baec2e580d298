// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <thread>

namespace croft::vsp {

/// A thread with a name (15 characters) that takes none of the process's signals but those that it
/// unblocks itself.
[[nodiscard]] std::thread start_thread(const std::string& name, std::function<void()> function);

} // namespace croft::vsp
