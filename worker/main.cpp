// SPDX-License-Identifier: Apache-2.0
#include "hv/hypervisor.hpp"
#include "worker/error.hpp"
#include "worker/processor/processor_failure.hpp"
#include "worker/settings/command_line.hpp"
#include "worker/worker.hpp"

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fmt/format.h>
#include <span>

namespace {

constexpr int failed = 1;

int run(std::span<const char* const> arguments) {
    const croft::worker::CommandLine command_line = croft::worker::parse_command_line(arguments);
    if (command_line.text) {
        fmt::print("{}", *command_line.text);
        return EXIT_SUCCESS;
    }
    const auto hypervisor = croft::hv::open_hypervisor();
    return croft::worker::run_worker(command_line.settings, *hypervisor);
}

} // namespace

int main(int argc, char** argv) {
    try {
        const std::span<const char* const> all(argv, static_cast<std::size_t>(argc));
        return run(all.subspan(all.empty() ? 0 : 1));
    } catch (const croft::worker::ProcessorFailure& failure) {
        for (const std::string& line : failure.state()) {
            fmt::print(stderr, "{}\n", line);
        }
        fmt::print(stderr, "croft-worker: {}\n", failure.what());
    } catch (const std::exception& error) {
        fmt::print(stderr, "croft-worker: {}\n", error.what());
    }
    return failed;
}
