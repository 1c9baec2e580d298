// SPDX-License-Identifier: Apache-2.0
//
// Bus and service, each with another side that says anything in any order, with the descriptors
// that belong to it or without. The end that is lied to closes the socket or goes on, and has
// nothing left when the socket is gone.
#include "vmbus/remote/event.hpp"
#include "vmbus/remote/message.hpp"
#include "vmbus/remote/poll_reactor.hpp"
#include "vmbus/remote/remote_bus.hpp"
#include "vmbus/remote/remote_service.hpp"
#include "vmbus/server/server.hpp"
#include "vmbus/testing/echo_service.hpp"
#include "vmbus/testing/test_vm.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <utility>
#include <vector>

namespace {

using namespace croft::vmbus;
using namespace croft::vmbus::remote;
using testing::EchoService;
using testing::TestVm;

std::array<Descriptor, 2> socket_pair() {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
        std::abort();
    }
    return {Descriptor(ends[0]), Descriptor(ends[1])};
}

/// What the liar has to send along.
class Liar {
public:
    Liar(Descriptor socket, int memory) : socket_(std::move(socket)), memory_(memory) {}

    void say(std::span<const std::uint8_t> bytes) {
        std::vector<int> along;
        Descriptor event;
        if (!bytes.empty() && (bytes[0] == 1 || bytes[0] == 2)) {
            event = Descriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
            along = bytes[0] == 1 ? std::vector{memory_} : std::vector{event.get(), event.get()};
        }
        alignas(cmsghdr) std::array<char, CMSG_SPACE(2 * sizeof(int))> control{};
        iovec part{const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
        msghdr header{};
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        if (!along.empty()) {
            header.msg_control = control.data();
            header.msg_controllen = CMSG_SPACE(along.size() * sizeof(int));
            cmsghdr* const rights = CMSG_FIRSTHDR(&header);
            rights->cmsg_level = SOL_SOCKET;
            rights->cmsg_type = SCM_RIGHTS;
            rights->cmsg_len = CMSG_LEN(along.size() * sizeof(int));
            std::memcpy(CMSG_DATA(rights), along.data(), along.size() * sizeof(int));
        }
        (void)::sendmsg(socket_.get(), &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    /// What the other end says goes nowhere.
    void listen() {
        std::array<std::uint8_t, 64> start{};
        while (::recv(socket_.get(), start.data(), start.size(), MSG_DONTWAIT) > 0) {
        }
    }
    void leave() { socket_ = Descriptor(); }

private:
    Descriptor socket_;
    int memory_;
};

void settle(PollReactor& reactor, Liar& liar) {
    while (reactor.run_once(0)) {
        liar.listen();
    }
}

/// A service that a worker lies to.
class LiedToService {
public:
    explicit LiedToService(TestVm& vm) : liar_(std::move(ends_[0]), vm.test_memory().file().file) {}

    void hear(std::span<const std::uint8_t> bytes) {
        liar_.say(bytes);
        settle(reactor_, liar_);
    }
    void finish() {
        liar_.leave();
        settle(reactor_, liar_);
        if (!ended_ || echo_.is_attached() || echo_.open_channels() != 0 ||
            !echo_.gpadls().empty()) {
            std::abort();
        }
    }

private:
    std::array<Descriptor, 2> ends_ = socket_pair();
    PollReactor reactor_;
    EchoService echo_{reactor_};
    Liar liar_;
    bool ended_ = false;
    RemoteBus bus_{reactor_, std::move(ends_[1]), Offer(), echo_,
        [this](const std::string&) { ended_ = true; },
        [this](std::span<const std::uint8_t> question, const std::function<void(Bytes)>& answered) {
            // Some are answered at once, some never.
            if (question.empty() || question.front() % 2 == 0 || bus_.is_idle()) {
                answered({question.begin(), question.end()});
            }
        }};
};

/// A bus that a service lies to.
class LiedToBus {
public:
    explicit LiedToBus(TestVm& vm)
        : vm_(vm),
          liar_(std::move(ends_[0]), vm.test_memory().file().file),
          remote_(reactor_, std::move(ends_[1]), vm.test_memory().file(),
              {[this](const Offer& offer) {
                   id_ = vm_.server().add(offer, remote_);
                   return std::string();
               },
                  [this] { process_ended_ = true; },
                  [this](const std::string&) {
                      ended_ = true;
                      vm_.server().remove(id_);
                  }}) {
        vm_.server().start();
    }

    void hear(std::span<const std::uint8_t> bytes) {
        liar_.say(bytes);
        settle(reactor_, liar_);
    }
    void ask() {
        ++asked_;
        remote_.ask({}, [this](const auto&) { --asked_; });
    }
    void stop_and_start() {
        if (stopping_) {
            return;
        }
        stopping_ = true;
        vm_.server().stop([this] {
            stopping_ = false;
            is_stopped_ = true;
        });
    }
    void go_on() {
        if (std::exchange(is_stopped_, false)) {
            vm_.server().start();
        }
    }
    void finish() {
        liar_.leave();
        settle(reactor_, liar_);
        if (!ended_ || !process_ended_ || remote_.is_attached() || asked_ != 0 || stopping_) {
            std::abort();
        }
    }

private:
    TestVm& vm_;
    std::array<Descriptor, 2> ends_ = socket_pair();
    PollReactor reactor_;
    Liar liar_;
    bool ended_ = false;
    bool process_ended_ = false;
    bool stopping_ = false;
    bool is_stopped_ = false;
    unsigned asked_ = 0;
    Server::DeviceId id_ = 0;
    RemoteService remote_;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

/// The first byte says who is lied to, and each message has its length before it.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::span<const std::uint8_t> input(data, size);
    const auto byte = [&input] {
        const std::uint8_t value = input.empty() ? 0 : input.front();
        input = input.subspan(input.empty() ? 0 : 1);
        return value;
    };
    const auto message = [&] {
        const std::size_t length = std::min<std::size_t>(byte(), input.size());
        const std::span<const std::uint8_t> taken = input.first(length);
        input = input.subspan(length);
        return taken;
    };
    TestVm vm(64);
    if (byte() % 2 == 0) {
        LiedToService service(vm);
        while (!input.empty()) {
            service.hear(message());
        }
        service.finish();
    } else {
        LiedToBus bus(vm);
        while (!input.empty()) {
            switch (const std::uint8_t what = byte(); what % 8) {
            case 0:
                bus.ask();
                break;
            case 1:
                bus.stop_and_start();
                break;
            case 2:
                bus.go_on();
                break;
            default:
                bus.hear(message());
            }
        }
        bus.finish();
        vm.replace_server();
    }
    return 0;
}
