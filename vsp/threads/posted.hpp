// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/ring.hpp"

#include <functional>

namespace croft::vsp {

/// Has `function` run on the thread of `ring`, soon, and in the order of calls. From any thread.
void post_to(disk::Ring& ring, std::function<void()> function);

} // namespace croft::vsp
