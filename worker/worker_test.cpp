// SPDX-License-Identifier: Apache-2.0
#include "worker/worker.hpp"

#include "worker/error.hpp"
#include "worker/fake_hypervisor.hpp"
#include "worker/memory/layout.hpp"
#include "worker/processor/processor_failure.hpp"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sstream>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>

namespace croft::worker {
namespace {

hv_message out(std::uint16_t port, unsigned size, std::uint32_t value) {
    return make_port_access(port, size, HV_INTERCEPT_ACCESS_WRITE, value);
}

GuestScript say(const std::string& text) {
    GuestScript script;
    for (const char character : text) {
        script.push_back(out(0x3f8, 1, static_cast<std::uint8_t>(character)));
    }
    return script;
}

void append(GuestScript& script, const hv_message& message) {
    script.push_back(message);
}

const hv_message power_off = out(0x604, 2, (1U << 13) | (5U << 10));
const hv_message reset = out(0xcf9, 1, 6);

/// A folder of its own with the smallest kernel, and a VM whose guest does what a script says.
class WorkerTest : public testing::Test {
protected:
    WorkerTest() : folder(make_folder()) {
        settings.boot.kernel = folder / "kernel";
        settings.memory.size = 32 * mebibyte;
        settings.serial_ports = {{folder / "console"}};
        write_kernel();
    }
    ~WorkerTest() override { std::filesystem::remove_all(folder); }

    static std::filesystem::path make_folder() {
        std::string name = testing::TempDir() + "worker.XXXXXX";
        return mkdtemp(name.data());
    }

    void write_kernel() const {
        std::string file(5 * 512 + 4096, '\0');
        const auto set = [&](std::size_t offset, auto value) {
            std::memcpy(file.data() + offset, &value, sizeof(value));
        };
        set(0x1f1, std::uint8_t{4});
        set(0x1fe, std::uint16_t{0xaa55});
        set(0x201, std::uint8_t{0x6a});
        set(0x202, std::uint32_t{0x53726448});
        set(0x206, std::uint16_t{0x020f});
        set(0x211, std::uint8_t{1});
        set(0x230, std::uint32_t{0x200000});
        set(0x236, std::uint16_t{1});
        set(0x238, std::uint32_t{2047});
        set(0x258, std::uint64_t{0x1000000});
        set(0x260, std::uint32_t{0x10000});
        std::ofstream(folder / "kernel", std::ios::binary) << file;
    }

    [[nodiscard]] std::string console() const {
        std::ifstream file(folder / "console");
        std::ostringstream text;
        text << file.rdbuf();
        return text.str();
    }

    std::filesystem::path folder;
    Settings settings;
    FakeHypervisor hypervisor;
};

TEST_F(WorkerTest, RunsUntilTheGuestPowersOff) {
    hypervisor.record.script = [](unsigned, std::uint32_t) {
        GuestScript script = say("hello, world\n");
        append(script, power_off);
        return script;
    };
    EXPECT_EQ(run_worker(settings, hypervisor), 0);
    EXPECT_EQ(console(), "hello, world\n");
}

TEST_F(WorkerTest, RunsSeveralProcessors) {
    settings.processor.count = 4;
    hypervisor.record.script = [](unsigned, std::uint32_t processor) {
        GuestScript script;
        for (int count = 0; count < 1000; ++count) {
            append(script, out(0x3f8, 1, 'a' + processor));
        }
        if (processor == 0) {
            // The others are still at it, or wait for ever.
            append(script, power_off);
        }
        return script;
    };
    EXPECT_EQ(run_worker(settings, hypervisor), 0);
    const std::string text = console();
    EXPECT_EQ(std::count(text.begin(), text.end(), 'a'), 1000);
}

TEST_F(WorkerTest, StartsAgainAfterAReset) {
    hypervisor.record.script = [](unsigned partition, std::uint32_t) {
        GuestScript script = say(partition == 0 ? "one " : "two");
        append(script, partition < 3 ? reset : power_off);
        return script;
    };
    EXPECT_EQ(run_worker(settings, hypervisor), 0);
    EXPECT_EQ(hypervisor.record.partitions, 4U);
    EXPECT_EQ(console(), "one twotwotwo");
}

TEST_F(WorkerTest, EndsWithTheGuestsFailure) {
    hypervisor.record.script = [](unsigned, std::uint32_t) {
        GuestScript script = say("last words");
        append(script,
            make_message(HVMSG_UNRECOVERABLE_EXCEPTION, hv_x64_unrecoverable_exception_message{}));
        return script;
    };
    EXPECT_THROW((void)run_worker(settings, hypervisor), ProcessorFailure);
    EXPECT_EQ(console(), "last words");
}

TEST_F(WorkerTest, SendsTheSerialPortsInterruptThroughTheIoApic) {
    constexpr std::uint64_t io_apic = 0xfec0'0000;
    hypervisor.record.script = [](unsigned, std::uint32_t) {
        const auto store = [](std::uint64_t gpa, std::uint32_t value) {
            std::vector<std::uint8_t> code = {0xc7, 0x04, 0x25}; // mov dword [address], value
            for (unsigned at = 0; at < 4; ++at) {
                code.push_back(static_cast<std::uint8_t>(gpa >> (at * 8)));
            }
            for (unsigned at = 0; at < 4; ++at) {
                code.push_back(static_cast<std::uint8_t>(value >> (at * 8)));
            }
            const std::uint64_t gva = gpa | 0xffff'ffff'0000'0000; // by its sign
            return make_memory_access(gpa, HV_INTERCEPT_ACCESS_WRITE, code, gva);
        };
        return GuestScript{store(io_apic, 0x18), store(io_apic + 0x10, 0x34), out(0x3fc, 1, 8),
            out(0x3f9, 1, 2), power_off};
    };
    EXPECT_EQ(run_worker(settings, hypervisor), 0);
    ASSERT_EQ(hypervisor.record.interrupts.size(), 1U);
    EXPECT_EQ(hypervisor.record.interrupts[0].vector, 0x34U);
}

TEST_F(WorkerTest, EndsOnASignal) {
    // Every thread has to block it, or it would end the test's process.
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    std::thread killer([] {
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
        kill(getpid(), SIGTERM);
    });
    EXPECT_EQ(run_worker(settings, hypervisor), 0);
    killer.join();
}

TEST_F(WorkerTest, RefusesFilesThatAreNotThere) {
    settings.boot.kernel = folder / "none";
    EXPECT_THROW((void)run_worker(settings, hypervisor), LoadError);
    settings.boot.kernel = folder;
    EXPECT_THROW((void)run_worker(settings, hypervisor), LoadError);
    settings.boot.kernel = folder / "kernel";
    settings.boot.initial_ram_disk = folder / "none";
    EXPECT_THROW((void)run_worker(settings, hypervisor), LoadError);
    settings.boot.initial_ram_disk.clear();
    settings.serial_ports = {{folder / "none" / "console"}};
    EXPECT_THROW((void)run_worker(settings, hypervisor), SystemError);
}

TEST_F(WorkerTest, RefusesMemoryThatTheHostHasNot) {
    settings.memory.size = 512 * gibibyte;
    EXPECT_THROW((void)run_worker(settings, hypervisor), SystemError);
}

/// A client of a control socket.
class Client {
public:
    explicit Client(const std::filesystem::path& path) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
        for (int attempt = 0; attempt < 200; ++attempt) {
            socket_ = socket(AF_UNIX, SOCK_STREAM, 0);
            if (connect(socket_, static_cast<const sockaddr*>(static_cast<const void*>(&address)),
                    sizeof(address)) == 0) {
                return;
            }
            close(socket_);
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        ADD_FAILURE() << "can't connect to " << path;
    }
    ~Client() { close(socket_); }
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    void send(const std::string& line) {
        const std::string request = line + "\n";
        EXPECT_EQ(
            write(socket_, request.data(), request.size()), static_cast<ssize_t>(request.size()));
    }
    nlohmann::json ask(const std::string& line) {
        send(line);
        std::string answer;
        char byte = 0;
        while (read(socket_, &byte, 1) == 1 && byte != '\n') {
            answer += byte;
        }
        const nlohmann::json parsed = nlohmann::json::parse(answer, nullptr, false);
        EXPECT_TRUE(parsed.is_object()) << "asked " << line << ", got '" << answer << "'";
        return parsed.is_object() ? parsed : nlohmann::json::object();
    }
    nlohmann::json command(const std::string& name) {
        return ask(nlohmann::json{{"command", name}}.dump());
    }

private:
    int socket_ = -1;
};

TEST_F(WorkerTest, IsControlledThroughItsSocket) {
    settings.control.socket = folder / "control";
    hypervisor.record.script = [](unsigned, std::uint32_t) {
        return say("x");
    };
    std::thread worker([this] { EXPECT_EQ(run_worker(settings, hypervisor), 0); });
    {
        Client client(settings.control.socket);
        EXPECT_EQ(client.command("status")["state"], "running");
        EXPECT_EQ(client.command("nonsense")["ok"], false);
        EXPECT_EQ(client.ask("no json")["ok"], false);
        EXPECT_EQ(client.ask(R"({"command": "nics"})")["nics"], nlohmann::json::array());
        for (const char* request : {R"({"command": "link", "number": 0, "up": false})",
                 R"({"command": "link", "number": 0, "up": 1})",
                 R"({"command": "link", "number": -1, "up": true})",
                 R"({"command": "remove-nic", "number": 0})", R"({"command": "remove-nic"})",
                 R"({"command": "add-nic", "nic": {"tap": "no/name"}})",
                 R"({"command": "add-nic", "nic": {"tap": "t", "colour": "red"}})",
                 R"({"command": "add-nic"})"}) {
            EXPECT_EQ(client.ask(request)["ok"], false) << request;
        }
        EXPECT_EQ(client.command("save")["ok"], false) << "no file, and it runs";
        EXPECT_EQ(client.command("statistics")["statistics"]["intercepts"].size(), 1U);
        EXPECT_EQ(client.command("pause")["state"], "paused");
        EXPECT_EQ(client.command("pause")["ok"], false);
        const std::string file = folder / "state";
        EXPECT_EQ(client.ask(R"({"command": "save", "file": ")" + file + "\"}")["ok"], true);
        const nlohmann::json devices = client.command("devices")["devices"];
        EXPECT_EQ(devices["fields"]["devices"].size(), 8U);
        EXPECT_EQ(client.ask(R"({"command": "restore", "file": ")" + file + "\"}")["ok"], true);
        EXPECT_EQ(client.ask(R"({"command": "restore", "file": "/etc/passwd"})")["ok"], false);
        // All but the clock, which follows the world's time.
        const auto serial = [](const nlohmann::json& all) {
            return all["fields"]["devices"][4];
        };
        EXPECT_EQ(serial(client.command("devices")["devices"]), serial(devices));
        EXPECT_EQ(client.command("resume")["state"], "running");
        EXPECT_EQ(client.command("reset")["state"], "running");
        EXPECT_EQ(client.command("shutdown")["ok"], true);
        EXPECT_EQ(client.command("stop")["ok"], true);
    }
    worker.join();
    EXPECT_EQ(hypervisor.record.partitions, 2U);
    EXPECT_FALSE(std::filesystem::exists(settings.control.socket));
}

/// What `end` does to a worker whose control thread waits for ever.
class HangingWorkerTest : public WorkerTest {
protected:
    HangingWorkerTest() {
        settings.control.socket = folder / "control";
        hypervisor.record.script = [](unsigned, std::uint32_t) {
            return say("x");
        };
        mkfifo((folder / "pipe").c_str(), 0600);
    }

    /// A thread that waits in openat() is asleep there; one on its way through it shows as running.
    static void wait_until_somebody_opens() {
        const auto opens = [](const std::filesystem::directory_entry& task) {
            long number = -1;
            std::ifstream(task.path() / "syscall") >> number;
            return number == SYS_openat;
        };
        while (
            std::ranges::none_of(std::filesystem::directory_iterator("/proc/self/task"), opens)) {
            std::this_thread::yield();
        }
    }

    void hang_and(const std::function<void(Client& other)>& end) {
        std::thread worker(
            [this] { (void)run_worker(settings, hypervisor, std::chrono::milliseconds(100)); });
        Client first(settings.control.socket);
        Client second(settings.control.socket);
        first.command("pause");
        // To open it for writing is to wait for somebody who reads.
        first.send(R"({"command": "save", "file": ")" + (folder / "pipe").string() + "\"}");
        wait_until_somebody_opens();
        end(second);
        worker.join();
    }
};

TEST_F(HangingWorkerTest, EndsOnRequest) {
    EXPECT_EXIT(hang_and([](Client& client) { EXPECT_EQ(client.command("stop")["ok"], true); }),
        testing::ExitedWithCode(1), "found it still busy");
    EXPECT_FALSE(std::filesystem::exists(settings.control.socket));
}

TEST_F(HangingWorkerTest, EndsOnASignal) {
    EXPECT_EXIT(hang_and([](Client&) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        pthread_sigmask(SIG_BLOCK, &set, nullptr);
        kill(getpid(), SIGTERM);
    }),
        testing::ExitedWithCode(1), "found it still busy");
}

TEST_F(WorkerTest, AddsChangesAndRemovesDrives) {
    settings.control.socket = folder / "control";
    settings.drives = {{DriveSettings::Type::dvd, 1, "", "iso", true}};
    const std::string disk = folder / "disk";
    const std::string disc = folder / "disc";
    std::ofstream(disk) << std::string(1 << 20, 'd');
    std::ofstream(disc) << std::string(1 << 20, 'i');
    hypervisor.record.script = [](unsigned, std::uint32_t) {
        return say("x");
    };
    std::thread worker([this] { EXPECT_EQ(run_worker(settings, hypervisor), 0); });
    {
        Client client(settings.control.socket);
        const auto ask = [&client](nlohmann::json request, const char* command) {
            request["command"] = command;
            return client.ask(request.dump());
        };
        const nlohmann::json drive = {{"path", disk}, {"format", "raw"}};
        EXPECT_EQ(
            ask({{"drive", {{"path", disk}, {"serial", "two words"}}}}, "add-drive")["ok"], false);
        EXPECT_EQ(ask({{"drive", drive}}, "add-drive")["lun"], 0);
        EXPECT_EQ(ask({{"drive", drive}}, "add-drive")["ok"], false) << "it is in use";
        EXPECT_EQ(
            ask({{"drive", {{"path", disc}, {"format", "raw"}, {"lun", 1}}}}, "add-drive")["ok"],
            false);
        EXPECT_EQ(ask({{"lun", 0}, {"size", "2M"}}, "resize-drive")["ok"], true);
        EXPECT_EQ(std::filesystem::file_size(disk), 2U << 20);
        EXPECT_EQ(ask({{"lun", 0}, {"size", 1 << 20}}, "resize-drive")["ok"], false) << "smaller";
        EXPECT_EQ(ask({{"lun", 1}, {"size", "4M"}}, "resize-drive")["ok"], false) << "no disk";
        EXPECT_EQ(ask({{"lun", 0}}, "resize-drive")["ok"], false) << "it is as before";
        std::filesystem::resize_file(disk, 3U << 20);
        EXPECT_EQ(ask({{"lun", 0}}, "resize-drive")["ok"], true);
        EXPECT_EQ(ask({{"lun", 0}, {"path", disc}}, "change-disc")["ok"], false) << "no DVD drive";
        EXPECT_EQ(ask({{"lun", 1}, {"path", disc}}, "change-disc")["ok"], true);
        EXPECT_EQ(ask({{"lun", 1}, {"path", disc + "x"}}, "change-disc")["ok"], false);
        const nlohmann::json drives = client.command("drives")["drives"];
        EXPECT_EQ(drives, client.command("status")["settings"]["drives"]);
        ASSERT_EQ(drives.size(), 2U);
        EXPECT_EQ(drives[0]["size"], 3U << 20);
        EXPECT_EQ(drives[1]["path"], disc);
        EXPECT_EQ(ask({{"lun", 1}}, "change-disc")["ok"], true);
        EXPECT_EQ(client.command("pause")["ok"], true);
        EXPECT_EQ(ask({{"lun", 0}}, "remove-drive")["ok"], true);
        EXPECT_EQ(ask({{"lun", 0}}, "remove-drive")["ok"], false) << "there is none";
        EXPECT_EQ(
            ask({{"drive", {{"path", disk}, {"format", "raw"}, {"lun", 63}}}}, "add-drive")["lun"],
            63);
        EXPECT_EQ(client.command("stop")["ok"], true);
    }
    worker.join();
}

TEST_F(WorkerTest, RefusesAControlSocketThatIsInUse) {
    settings.control.socket = folder / "kernel";
    EXPECT_THROW((void)run_worker(settings, hypervisor), SystemError);
    settings.control.socket = folder / std::string(200, 'x');
    EXPECT_THROW((void)run_worker(settings, hypervisor), SystemError);
}

} // namespace
} // namespace croft::worker
