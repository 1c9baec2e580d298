// SPDX-License-Identifier: Apache-2.0
// The handlers that hypercall/table.hpp declares, each with nothing in it: the table can be linked
// without the hypervisor. Their definitions are made from the declarations, see CMakeLists.txt.
#pragma once

#include "hypervisor/hypercall/table.hpp"

#include <span>
#include <string_view>

namespace hypervisor::hypercall {

using Handler = Status (*)(Call&);

struct NamedHandler {
    std::string_view name;
    Handler handler;
};

std::span<const NamedHandler> handlers();

} // namespace hypervisor::hypercall
