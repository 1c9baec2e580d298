// SPDX-License-Identifier: Apache-2.0
//
// What a guest can do to VMBus, in any order: channel messages, rings and signals, taking messages
// or not; with services that answer late or say no, and a VM that is saved and restored meanwhile,
// or restored from what another host says.
#include "vdev/error.hpp"
#include "vmbus/remote/poll_reactor.hpp"
#include "vmbus/server/server.hpp"
#include "vmbus/testing/echo_service.hpp"
#include "vmbus/testing/test_vm.hpp"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <span>

namespace {

using namespace croft::vmbus;
using testing::EchoService;
using testing::TestMemory;
using testing::TestVm;

class Run {
public:
    explicit Run(std::span<const std::uint8_t> input) : input_(input) {
        add_devices();
        vm_.server().start();
    }
    ~Run() {
        // Whatever the guest did, it can be got rid of.
        for (auto& service : services_) {
            service->hold_answers(false);
            service->answer_held();
        }
        bool gone = false;
        vm_.server().reset([&] { gone = true; });
        if (!gone || vm_.connections() != 0) {
            std::abort();
        }
        vm_.replace_server(); // the services go before the VM does
    }

    void all() {
        // Longer histories find nothing new and take their time.
        for (unsigned steps = 0; !input_.empty() && steps < 300; ++steps) {
            step(byte());
            if (vm_.reports().size() > 100000) {
                std::abort();
            }
        }
    }

private:
    void add_devices() {
        for (std::uint8_t i = 0; i < services_.size(); ++i) {
            services_.at(i) = std::make_unique<EchoService>(reactor_);
            Offer offer;
            offer.instance.bytes[0] = i;
            ids_.at(i) = vm_.server().add(offer, *services_.at(i));
        }
    }

    std::uint8_t byte() {
        if (input_.empty()) {
            return 0;
        }
        const std::uint8_t value = input_.front();
        input_ = input_.subspan(1);
        return value;
    }

    void step(std::uint8_t action) {
        const std::uint8_t argument = byte();
        EchoService& service = *services_.at(argument % services_.size());
        switch (action % 10) {
        case 0:
        case 1: {
            const std::size_t size = std::min<std::size_t>(argument, input_.size());
            (void)vm_.server().receive(input_.first(size));
            input_ = input_.subspan(size);
            break;
        }
        case 2:
            (void)vm_.take_message(argument % TestVm::processors);
            break;
        case 3:
            service.hold_answers((argument & 4) != 0);
            break;
        case 4:
            service.answer_held();
            break;
        case 5:
            write_memory(argument);
            break;
        case 6:
            vm_.signal(0x2000U + argument % 8);
            (void)reactor_.run_once(0);
            break;
        case 7:
            service.refuse_opens((argument & 4) != 0);
            service.refuse_gpadls((argument & 8) != 0);
            break;
        case 8:
            vm_.server().remove(ids_.at(argument % ids_.size()));
            break;
        case 9:
            if (argument == 1) {
                restore_foreign();
            } else if (saves_left_ != 0) {
                --saves_left_; // it takes as long as a hundred of the others
                save_and_restore();
            }
            break;
        default:
            break;
        }
    }

    void write_memory(std::uint8_t page) {
        std::uint8_t* const place =
            vm_.memory().page(TestMemory::first_page + page % 16) + 8 * byte();
        for (std::size_t i = 0; i < 8; ++i) {
            place[i] = byte();
        }
    }

    void save_and_restore() {
        bool stopped = false;
        vm_.server().stop([&] { stopped = true; });
        if (!stopped) {
            for (auto& service : services_) {
                service->hold_answers(false);
                service->answer_held();
            }
        }
        if (!stopped) {
            std::abort();
        }
        const croft::vdev::Record record = vm_.server().save();
        // The old services must not call a server that is gone.
        vm_.replace_server();
        add_devices();
        try {
            vm_.server().restore(croft::vdev::Record::decode(record.encode()));
        } catch (const croft::vdev::RecordError&) {
            std::abort(); // what a server saves, a server reads
        }
        vm_.server().start();
    }

    /// What is left of the input is a state from another host; RecordError is the only way out but
    /// success.
    void restore_foreign() {
        for (auto& service : services_) {
            service->hold_answers(false);
            service->answer_held();
        }
        vm_.replace_server();
        add_devices();
        try {
            vm_.server().restore(croft::vdev::Record::decode(input_));
        } catch (const croft::vdev::RecordError&) { // as it should be
        }
        input_ = {};
        vm_.server().start();
        save_and_restore();
    }

    /// Of each run its own: what stays from one to the next looks like a leak.
    TestVm vm_{64};
    unsigned saves_left_ = 3;
    std::span<const std::uint8_t> input_;
    PollReactor reactor_;
    std::array<std::unique_ptr<EchoService>, 3> services_;
    std::array<Server::DeviceId, 3> ids_{};
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Run run({data, size});
    run.all();
    return 0;
}
