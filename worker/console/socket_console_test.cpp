// SPDX-License-Identifier: Apache-2.0
#include "worker/console/socket_console.hpp"

#include "worker/error.hpp"
#include "worker/executor/vm_clock.hpp"

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <mutex>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>

namespace croft::worker {
namespace {

/// A serial port that takes input only when it is told to.
class TimedPort final : public vdev::CharacterSink {
public:
    std::size_t receive(std::span<const std::uint8_t> bytes) override {
        const std::lock_guard lock(mutex_);
        const std::size_t taken = std::min(bytes.size(), room_);
        room_ -= taken;
        text_.append(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
        changed_.notify_all();
        return taken;
    }
    void output_possible() override {}

    void give_room(std::size_t room) {
        const std::lock_guard lock(mutex_);
        room_ = room;
    }
    std::string wait_for(std::size_t size) {
        std::unique_lock lock(mutex_);
        changed_.wait_for(lock, std::chrono::seconds(10), [&] { return text_.size() >= size; });
        return text_;
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::size_t room_ = 1 << 20;
    std::string text_;
};

class Viewer {
public:
    explicit Viewer(const std::filesystem::path& path)
        : socket_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
        EXPECT_EQ(
            ::connect(socket_.get(),
                static_cast<const sockaddr*>(static_cast<const void*>(&address)), sizeof(address)),
            0);
    }

    /// Reads as much, or what there is until the end.
    std::string read(std::size_t size) {
        std::string text(size, '\0');
        std::size_t got = 0;
        while (got < size) {
            const ssize_t more = ::read(socket_.get(), text.data() + got, size - got);
            if (more <= 0) {
                break;
            }
            got += static_cast<std::size_t>(more);
        }
        text.resize(got);
        return text;
    }
    void type(std::string_view text) {
        EXPECT_EQ(
            ::write(socket_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    }
    void leave() { shutdown(socket_.get(), SHUT_WR); }

private:
    FileDescriptor socket_;
};

class SocketConsoleTest : public testing::Test {
protected:
    SocketConsoleTest() {
        console.connect(&port);
        console.start();
        thread = std::thread([this] { loop.run(); });
    }
    ~SocketConsoleTest() override {
        loop.quit();
        thread.join();
        std::filesystem::remove_all(folder);
    }

    static std::filesystem::path make_folder() {
        std::string name = testing::TempDir() + "console.XXXXXX";
        return mkdtemp(name.data());
    }

    void print(std::string_view text) {
        EXPECT_TRUE(
            console.send({static_cast<const std::uint8_t*>(static_cast<const void*>(text.data())),
                text.size()}));
        console.drain();
    }

    std::filesystem::path folder = make_folder();
    std::filesystem::path path = folder / "console";
    TimedPort port;
    VmClock clock;
    IoLoop loop{clock};
    SocketConsole console{loop, path};
    std::thread thread;
};

TEST_F(SocketConsoleTest, ShowsWhatNobodyHasSeen) {
    print("first\n");
    Viewer viewer(path);
    EXPECT_EQ(viewer.read(6), "first\n");
    print("second\n");
    EXPECT_EQ(viewer.read(7), "second\n");
    viewer.leave();
    EXPECT_EQ(viewer.read(1), "");
    print("third\n");
    EXPECT_EQ(Viewer(path).read(6), "third\n");
}

TEST_F(SocketConsoleTest, ShowsThePromptAgain) {
    print("welcome\nlogin: ");
    EXPECT_EQ(Viewer(path).read(15), "welcome\nlogin: ");
    EXPECT_EQ(Viewer(path).read(7), "login: ");
}

TEST_F(SocketConsoleTest, KeepsTheNewestForTheNextViewer) {
    std::string text;
    for (int line = 0; text.size() < 2 * SocketConsole::kept; ++line) {
        text += "line " + std::to_string(line) + "\n";
    }
    print(text);
    EXPECT_EQ(
        Viewer(path).read(SocketConsole::kept), text.substr(text.size() - SocketConsole::kept));
}

TEST_F(SocketConsoleTest, ServesSeveral) {
    Viewer one(path);
    Viewer other(path);
    one.type("a");
    EXPECT_EQ(port.wait_for(1), "a");
    other.type("b");
    EXPECT_EQ(port.wait_for(2), "ab");
    print("seen by both\n");
    EXPECT_EQ(one.read(13), "seen by both\n");
    EXPECT_EQ(other.read(13), "seen by both\n");
}

TEST_F(SocketConsoleTest, HoldsInputUntilTheGuestWantsIt) {
    port.give_room(2);
    Viewer viewer(path);
    viewer.type("abcdef");
    EXPECT_EQ(port.wait_for(2), "ab");
    viewer.leave();
    EXPECT_EQ(viewer.read(1), "") << "one that leaves doesn't wait for the guest";
    port.give_room(100);
    console.input_wanted();
    EXPECT_EQ(port.wait_for(6), "abcdef");
}

TEST_F(SocketConsoleTest, IsNotHeldUpByOneWhoDoesNotRead) {
    const Viewer stuck(path);
    Viewer reading(path);
    const std::string text(4 * SocketConsole::kept, 'x');
    std::thread reader([&] { EXPECT_GE(reading.read(SocketConsole::kept).size(), 1U); });
    for (std::size_t at = 0; at < text.size(); at += 4096) {
        EXPECT_TRUE(console.send(
            {static_cast<const std::uint8_t*>(static_cast<const void*>(text.data() + at)), 4096}));
    }
    reader.join();
}

TEST_F(SocketConsoleTest, RefusesAPathThatIsTaken) {
    EXPECT_THROW(SocketConsole(loop, path), SystemError);
    std::ofstream(folder / "file") << "x";
    EXPECT_THROW(SocketConsole(loop, folder / "file"), SystemError);
    EXPECT_THROW(SocketConsole(loop, folder / std::string(200, 'x')), SystemError);
}

} // namespace
} // namespace croft::worker
