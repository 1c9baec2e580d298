// SPDX-License-Identifier: Apache-2.0
// The malformed calls, by a child.
#include "tests/guests/root/root.hpp"

extern "C" void bare_program() {
    root::set_up();
    root::check_malformed_calls();
    check_plan();
}
