// SPDX-License-Identifier: Apache-2.0
//
// A service in a process of its own against a worker that means no good.
#include "vmbus/remote/event.hpp"
#include "vmbus/remote/message.hpp"
#include "vmbus/remote/poll_reactor.hpp"
#include "vmbus/remote/remote_bus.hpp"
#include "vmbus/testing/echo_ends.hpp"
#include "vmbus/testing/echo_service.hpp"
#include "vmbus/testing/test_vm.hpp"

#include <array>
#include <cstring>
#include <gtest/gtest.h>
#include <memory>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

namespace croft::vmbus::remote {
namespace {

using testing::echo_offer;
using testing::EchoService;
using testing::socket_pair;
using testing::TestVm;

/// A worker that says what it likes to the service.
class HostileBusTest : public ::testing::Test {
protected:
    HostileBusTest() {
        auto [ours, theirs] = socket_pair();
        socket_ = std::move(theirs);
        bus_ = std::make_unique<RemoteBus>(
            reactor_, std::move(ours), echo_offer(), echo_, [this](const std::string& reason) {
                ended_ = true;
                reason_ = reason;
            });
    }

    void say(const Message& message) {
        const std::vector<std::uint8_t> bytes = encode(message);
        const std::vector<int> descriptors = descriptors_of(message);
        alignas(cmsghdr) std::array<char, CMSG_SPACE(2 * sizeof(int))> control{};
        iovec part{const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
        msghdr header{};
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        if (!descriptors.empty()) {
            header.msg_control = control.data();
            header.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
            cmsghdr* const rights = CMSG_FIRSTHDR(&header);
            rights->cmsg_level = SOL_SOCKET;
            rights->cmsg_type = SCM_RIGHTS;
            rights->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
            std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size() * sizeof(int));
        }
        (void)::sendmsg(socket_.get(), &header, MSG_NOSIGNAL);
        while (reactor_.run_once(0)) {
        }
    }
    void welcome() {
        const MemoryFile file = vm_.test_memory().file();
        say(Welcome{protocol_version, file.ranges, duplicate(file.file)});
    }
    [[nodiscard]] static Descriptor event() {
        return Descriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    }
    Open open_of(std::vector<std::uint64_t> in, std::vector<std::uint64_t> out) {
        Open open;
        open.channel.incoming_pages = std::move(in);
        open.channel.outgoing_pages = std::move(out);
        open.channel.event = event();
        open.interrupt = event();
        return open;
    }

    TestVm vm_;
    PollReactor reactor_;
    EchoService echo_{reactor_};
    Descriptor socket_;
    bool ended_ = false;
    std::string reason_;
    std::unique_ptr<RemoteBus> bus_;
};

/// The same with a service that is asked things and takes its time.
class HostileOwnerTest : public HostileBusTest {
protected:
    HostileOwnerTest() {
        auto [ours, theirs] = socket_pair();
        socket_ = std::move(theirs);
        bus_ = std::make_unique<RemoteBus>(
            reactor_, std::move(ours), echo_offer(), echo_,
            [this](const std::string& reason) {
                ended_ = true;
                reason_ = reason;
            },
            [this](std::span<const std::uint8_t> /*question*/, auto answered) {
                answered_ = std::move(answered);
            });
    }
    std::function<void(Bytes)> answered_;
};

TEST_F(HostileOwnerTest, QuestionsUponQuestions) {
    welcome();
    say(Ask{false, {1}});
    EXPECT_FALSE(answered_);
    say(Ask{true, {2}});
    ASSERT_TRUE(answered_);
    answered_({});
    say(Ask{true, {3}});
    EXPECT_FALSE(ended_);
    say(Ask{true, {4}});
    EXPECT_EQ(reason_, "found a question before the last one was answered");
    answered_({}); // late, and for nobody
}

TEST_F(HostileOwnerTest, QuestionsThatAreTooLong) {
    welcome();
    for (std::size_t sent = 0; sent <= longest_content && !ended_; sent += longest_part) {
        say(Ask{false, Bytes(longest_part)});
    }
    EXPECT_EQ(reason_, "found a question or an answer of more than 8 MiB");
}

TEST_F(HostileBusTest, MemoryThatIsNone) {
    const Descriptor small(memfd_create("small", MFD_CLOEXEC));
    say(Welcome{protocol_version, {{0, 1 << 20, 0}}, duplicate(small.get())});
    EXPECT_TRUE(ended_);
    EXPECT_EQ(reason_.substr(0, 12), "guest memory");
    EXPECT_FALSE(echo_.is_attached());
}

TEST_F(HostileBusTest, MemoryBeyondTheFile) {
    const MemoryFile file = vm_.test_memory().file();
    for (const MemoryFileRange& bad :
        {MemoryFileRange{0, 1 << 30, 0}, MemoryFileRange{0, 4096, std::uint64_t{1} << 40},
            MemoryFileRange{0, 4096, 1}, MemoryFileRange{1, 4096, 0}, MemoryFileRange{0, 0, 0},
            MemoryFileRange{0xfffffffffffff000, 0x2000, 0}}) {
        EXPECT_FALSE(MappedMemory::map(file.file, std::array{bad}));
    }
    EXPECT_TRUE(MappedMemory::map(file.file, file.ranges));
    const Descriptor pipe_like = event();
    EXPECT_FALSE(MappedMemory::map(pipe_like.get(), file.ranges));
}

TEST_F(HostileBusTest, RingsThatAreNoMemory) {
    welcome();
    ASSERT_TRUE(echo_.is_attached());
    say(open_of({1, 2}, {16, 17}));
    EXPECT_EQ(reason_, "found rings that aren't memory");
    EXPECT_FALSE(echo_.is_attached());
}

TEST_F(HostileBusTest, OpensTwice) {
    welcome();
    say(Start{});
    say(CreateGpadl{0, {1, {{4096, 0, {16}}}}});
    say(open_of({16, 17}, {18, 19}));
    EXPECT_EQ(echo_.open_channels(), 1U);
    say(open_of({16, 17}, {18, 19}));
    EXPECT_EQ(reason_, "found an open of a channel that is open");
    EXPECT_EQ(echo_.open_channels(), 0U) << "closed, and the GPADL torn down";
    EXPECT_TRUE(echo_.gpadls().empty());
    EXPECT_FALSE(echo_.is_attached());
}

TEST_F(HostileBusTest, WaitsForTheServiceToLetGo) {
    welcome();
    say(open_of({16, 17}, {18, 19}));
    echo_.hold_answers(true);
    socket_ = Descriptor();
    while (reactor_.run_once(0)) {
    }
    EXPECT_FALSE(ended_);
    echo_.hold_answers(false);
    echo_.answer_held();
    EXPECT_TRUE(ended_);
    EXPECT_EQ(reason_, "");
}

TEST_F(HostileBusTest, QuestionsThatNobodyAnswers) {
    welcome();
    say(Ask{true, {}});
    EXPECT_EQ(reason_, "found a question for a service that answers none");
}

TEST_F(HostileBusTest, OutOfOrder) {
    say(Start{});
    EXPECT_EQ(reason_, "found a message before the welcome");
    EXPECT_FALSE(echo_.is_attached());
}

} // namespace
} // namespace croft::vmbus::remote
