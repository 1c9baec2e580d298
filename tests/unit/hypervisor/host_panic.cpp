// SPDX-License-Identifier: Apache-2.0
// What the hypervisor's panic is in a test: the message, and the end of the process.
#include "hypervisor/debug/panic.hpp"

#include <cstdio>
#include <cstdlib>

namespace hypervisor {

void panic_with(SourceLine where, std::string_view format, const console::Argument* /*arguments*/,
    unsigned /*count*/) {
    std::fprintf(stderr, "panic: %.*s (%s:%u)\n", static_cast<int>(format.size()), format.data(),
        where.file, where.number);
    std::abort();
}

} // namespace hypervisor
