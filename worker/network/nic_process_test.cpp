// SPDX-License-Identifier: Apache-2.0
//
// Network adapters in processes of their own, as the worker has them: their lives, and their
// deaths.
#include "worker/network/nic_process.hpp"

#include "vsp/network/adapter_state.hpp"
#include "worker/error.hpp"
#include "worker/executor/executor.hpp"
#include "worker/memory/guest_memory.hpp"
#include "worker/memory/layout.hpp"
#include "worker/signal/event_connections.hpp"

#include <array>
#include <csignal>
#include <cstdlib>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace croft::worker {
namespace {

/// What of a worker an adapter needs.
struct Surroundings {
    GuestMemory memory{{{0, 4 * mebibyte}}};
    EventConnections connections;
    Executor executor;
    VmbusDevice bus{memory, connections, executor.devices(), 1};
};

NicSettings settings_of(const std::string& tap) {
    NicSettings nic;
    nic.number = 5;
    nic.tap = tap;
    nic.mac = "02:00:00:00:00:01";
    nic.queues = 2;
    nic.process = NicSettings::Process::own;
    return nic;
}

/// Waits until a process that needn't be a child has ended.
[[nodiscard]] bool has_ended(pid_t process) {
    const vmbus::Descriptor descriptor(static_cast<int>(syscall(SYS_pidfd_open, process, 0)));
    pollfd ended{descriptor.get(), POLLIN, 0};
    return !descriptor || poll(&ended, 1, 20000) == 1;
}

std::string status_line(pid_t process, const std::string& key) {
    std::ifstream file(fmt::format("/proc/{}/status", process));
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with(key + ":\t")) {
            return line.substr(key.size() + 2);
        }
    }
    return "";
}

class NicProcessTest : public ::testing::Test {
protected:
    static void SetUpTestSuite() { setenv("CROFT_NIC", CROFT_TEST_NIC, 1); }

    NicProcessTest() {
        around_.executor.start();
        around_.bus.start();
    }
    ~NicProcessTest() override {
        if (is_running_) {
            around_.bus.stop();
        }
    }

    void stop() {
        around_.bus.stop();
        is_running_ = false;
    }
    [[nodiscard]] std::unique_ptr<NicProcess> make(const std::string& tap = "tap0") {
        return std::make_unique<NicProcess>(
            settings_of(tap), 1, around_.bus, around_.executor.devices());
    }
    [[nodiscard]] static pid_t process_of(const NicProcess& nic) {
        return nic.statistics().at("process").get<pid_t>();
    }
    /// Ends its process, and waits until the worker has noticed.
    static void lose(const NicProcess& nic) {
        kill(process_of(nic), SIGKILL);
        while (!nic.statistics().at("process").is_null()) {
            std::this_thread::yield();
        }
    }

    Surroundings around_;
    bool is_running_ = true;
};

TEST_F(NicProcessTest, IsAskedAndToldFromTheWorker) {
    const auto nic = make();
    nlohmann::json statistics = nic->statistics();
    EXPECT_EQ(statistics["number"], 5);
    EXPECT_EQ(statistics["mac"], "02:00:00:00:00:01");
    EXPECT_EQ(statistics["connected"], true);
    EXPECT_EQ(statistics["sent"]["frames"], 0);
    nic->set_plugged(false);
    EXPECT_EQ(nic->statistics()["plugged"], false);
    EXPECT_THROW((void)nic->save(), Error) << "while it runs";
    stop();
    const vdev::Record state = nic->save();
    nic->restore(state);
    EXPECT_EQ(nic->save(), state);
    EXPECT_THROW(nic->restore(vdev::Record("storvsp", 1)), vdev::RecordError);
    nic->reset();
    EXPECT_NE(nic->statistics()["process"], nlohmann::json()) << "all the while it is there";
}

TEST_F(NicProcessTest, HasNothingThatItDoesNotNeed) {
    const vmbus::Descriptor inherited(dup(STDERR_FILENO)); // not to be closed on exec
    const auto nic = make();
    const pid_t process = process_of(*nic);
    EXPECT_EQ(status_line(process, "NoNewPrivs"), "1");
    EXPECT_EQ(status_line(process, "CapEff"), "0000000000000000");
    EXPECT_EQ(status_line(process, "CapPrm"), "0000000000000000");
    std::array<char, 64> target{};
    const std::string link = fmt::format("/proc/{}/fd/{}", process, inherited.get());
    const ssize_t length = readlink(link.c_str(), target.data(), target.size());
    std::array<char, 64> own{};
    const ssize_t own_length =
        readlink(fmt::format("/proc/self/fd/{}", inherited.get()).c_str(), own.data(), own.size());
    EXPECT_TRUE(length < 0 || length != own_length || own != target) << target.data();
    EXPECT_EQ(getpgid(process), process) << "the terminal's signals are the worker's";
}

TEST_F(NicProcessTest, EndsWithItsAdapter) {
    auto nic = make();
    const pid_t process = process_of(*nic);
    nic.reset();
    EXPECT_NE(kill(process, 0), 0);
    nic = make();
    EXPECT_NE(process_of(*nic), process);
}

TEST_F(NicProcessTest, IsLostWithItsProcessAndNothingElse) {
    const auto nic = make();
    const auto other = std::make_unique<NicProcess>(
        [] {
            NicSettings settings = settings_of("tap1");
            settings.number = 6;
            return settings;
        }(),
        1, around_.bus, around_.executor.devices());
    const pid_t process = process_of(*nic);
    ::testing::internal::CaptureStderr();
    lose(*nic);
    EXPECT_EQ(::testing::internal::GetCapturedStderr(),
        fmt::format("network adapter 5: its process, croft-nic {}, was ended by signal 9 (Killed); "
                    "the guest has lost the adapter and runs on\r\n",
            process));
    EXPECT_EQ(nic->statistics()["connected"], false);
    EXPECT_EQ(nic->statistics()["mac"], "02:00:00:00:00:01");
    EXPECT_THROW(nic->set_plugged(true), SystemError);
    EXPECT_EQ(other->statistics()["connected"], true);
    EXPECT_NE(make(), nullptr) << "the guest has none with that number any more";
    stop();
    EXPECT_NO_THROW((void)vsp::network::AdapterState::load(nic->save()));
    EXPECT_THROW(nic->restore(other->save()), vdev::RecordError);
    nic->reset();
    other->reset();
}

TEST_F(NicProcessTest, MakesRoomForAnotherWhenItIsLost) {
    auto nic = make();
    lose(*nic);
    nic.reset();
    nic = make();
    EXPECT_EQ(nic->statistics()["connected"], true);
}

TEST_F(NicProcessTest, SaysWhyItDoesNotBegin) {
    const auto reason = [this](const std::string& tap) {
        try {
            (void)make(tap);
        } catch (const SystemError& error) {
            return std::string(error.what());
        }
        return std::string();
    };
    EXPECT_EQ(reason("refused"), "network adapter 5: TAP device refused: cannot be opened");
    const std::string gone = reason("gone");
    EXPECT_TRUE(gone.ends_with("ended with status 7")) << gone;
    setenv("CROFT_NIC", "/nowhere/croft-nic", 1);
    const std::string missing = reason("tap0");
    EXPECT_NE(missing.find("/nowhere/croft-nic: No such file"), std::string::npos) << missing;
    setenv("CROFT_NIC", CROFT_TEST_NIC, 1);
    EXPECT_NE(make(), nullptr) << "nothing is left of those";
}

TEST_F(NicProcessTest, ThatIsSilentIsNotWaitedForForEver) {
    const ProviderProcess process("croft-nic", {"--tap", "silent"});
    EXPECT_THROW(process.wait_until_heard(std::chrono::milliseconds(200)), SystemError);
}

/// What becomes of it when its worker is killed; `stopped`: while it can do nothing itself.
void outlive_worker(bool stopped) {
    setenv("CROFT_NIC", CROFT_TEST_NIC, 1);
    std::array<int, 2> ends{-1, -1};
    ASSERT_EQ(pipe(ends.data()), 0);
    const pid_t worker = fork();
    if (worker == 0) {
        Surroundings around;
        around.executor.start();
        around.bus.start();
        const NicProcess nic(settings_of("tap0"), 1, around.bus, around.executor.devices());
        const auto process = nic.statistics().at("process").get<pid_t>();
        (void)!write(ends[1], &process, sizeof(process));
        for (;;) {
            pause();
        }
    }
    pid_t process = 0;
    ASSERT_EQ(read(ends[0], &process, sizeof(process)), static_cast<ssize_t>(sizeof(process)));
    if (stopped) {
        kill(process, SIGSTOP);
    }
    kill(worker, SIGKILL);
    waitpid(worker, nullptr, 0);
    EXPECT_TRUE(has_ended(process));
    close(ends[0]);
    close(ends[1]);
}

TEST(NicProcessDeathTest, EndsWithItsWorker) {
    outlive_worker(false);
    outlive_worker(true);
}

} // namespace
} // namespace croft::worker
