// SPDX-License-Identifier: Apache-2.0
// signal-bench mshv|kvm ROUNDS: a guest signals, a thread of the root wakes by an eventfd and
// answers, the guest's interrupt handler runs. Says "ready" when it is warm and waits for a line;
// then, as JSON, the median ticks of the time-stamp counter from the signal until the guest runs
// on, from it to the thread, from the thread's answer to the handler, and from a signal to the
// next.
#include "bench/signal/machine.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>
#include <sys/eventfd.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace croft::bench {

namespace {

constexpr std::uint32_t warm_up = 100;

struct HostRound {
    std::uint64_t woke;
    std::uint64_t answering;
};

std::uint64_t median(std::vector<std::uint64_t> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

void wait(int event) {
    std::uint64_t count = 0;
    if (read(event, &count, sizeof count) != sizeof count || count != 1) {
        throw std::runtime_error("expected one signal of the guest");
    }
}

void say_results(
    const SignalMachine& machine, std::uint64_t offset, const std::vector<HostRound>& host) {
    std::vector<std::uint64_t> signal;
    std::vector<std::uint64_t> there;
    std::vector<std::uint64_t> back;
    std::vector<std::uint64_t> whole;
    const auto guest = machine.rounds();
    for (std::size_t i = warm_up; i < host.size(); ++i) {
        signal.push_back(guest[i].went_on - guest[i].signalled);
        there.push_back(host[i].woke + offset - guest[i].signalled);
        back.push_back(guest[i].answered - offset - host[i].answering);
        if (i + 1 < host.size()) {
            whole.push_back(guest[i + 1].signalled - guest[i].signalled);
        }
    }
    std::printf("{\"signal\": %llu, \"there\": %llu, \"back\": %llu, \"round\": %llu}\n",
        static_cast<unsigned long long>(median(signal)),
        static_cast<unsigned long long>(median(there)),
        static_cast<unsigned long long>(median(back)),
        static_cast<unsigned long long>(median(whole)));
}

void run(const std::string& kind, std::uint32_t rounds) {
    const int event = eventfd(0, EFD_CLOEXEC);
    const auto machine =
        kind == "kvm" ? make_kvm_machine(event, rounds) : make_mshv_machine(event, rounds);
    const std::uint64_t offset = machine->clock_offset();
    std::vector<HostRound> host(rounds);
    const std::jthread processor{[&machine] {
        try {
            machine->run();
        } catch (const std::exception& error) {
            std::fprintf(stderr, "signal-bench: %s\n", error.what());
            std::_Exit(1); // the other thread waits for signals
        }
    }};
    for (std::uint32_t i = 0; i < rounds; ++i) {
        wait(event);
        if (i == warm_up) {
            std::puts("ready");
            std::fflush(stdout);
            (void)std::getchar();
        }
        host[i].woke = ticks();
        host[i].answering = ticks();
        machine->answer();
    }
    std::puts("done");
    say_results(*machine, offset, host);
}

} // namespace

} // namespace croft::bench

int main(int count, char** words) {
    const std::string kind = count == 3 ? words[1] : "";
    const unsigned long rounds = count == 3 ? std::strtoul(words[2], nullptr, 10) : 0;
    if ((kind != "mshv" && kind != "kvm") || rounds <= croft::bench::warm_up ||
        rounds > croft::bench::SignalMachine::most_rounds) {
        std::fprintf(stderr, "usage: signal-bench mshv|kvm ROUNDS (%u to %u)\n",
            croft::bench::warm_up + 1, croft::bench::SignalMachine::most_rounds);
        return 2;
    }
    try {
        croft::bench::run(kind, static_cast<std::uint32_t>(rounds));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "signal-bench: %s\n", error.what());
        return 1;
    }
    return 0;
}
