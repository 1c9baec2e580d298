// SPDX-License-Identifier: Apache-2.0
// In the place of the root's kernel; the command line says what to do: "malformed", "reps",
// "refusals", "pools", "overlays", "far-memory", "sleep=PORT" (of PM1 control),
// "calls=N" (at random) with "seed=N".
#include "tests/guests/root/root.hpp"

extern "C" void bare_program() {
    root::set_up();
    if (root::has_option("malformed")) {
        root::check_malformed_calls();
    }
    if (root::has_option("reps")) {
        root::check_reps();
    }
    if (root::has_option("refusals")) {
        root::check_refusals();
    }
    if (root::has_option("calls")) {
        root::fuzz(root::option("seed", 1), root::option("calls", 0));
    }
    if (root::has_option("overlays")) {
        root::check_overlays();
    }
    if (root::has_option("far-memory")) {
        root::check_far_memory();
    }
    if (root::has_option("sleep")) {
        root::check_sleep(static_cast<std::uint16_t>(root::option("sleep", 0)));
    }
    if (root::has_option("pools")) {
        root::check_pools();
    }
    check_plan();
}
