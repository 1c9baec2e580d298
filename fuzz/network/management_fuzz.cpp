// SPDX-License-Identifier: Apache-2.0
//
// Questions to an adapter in another process, and its answers: each end gets anything from the
// other. Error is the only way out but success, and what an adapter takes over it can save.
#include "vdev/error.hpp"
#include "vsp/network/adapter.hpp"
#include "vsp/network/management.hpp"

#include <cerrno>
#include <cstdint>
#include <cstdlib>

namespace {

using namespace croft;
using namespace croft::vsp::network;

class NoQueue final : public Queue {
public:
    [[nodiscard]] int descriptor() const override { return -1; }
    [[nodiscard]] int receive(std::span<const iovec>) override { return -EAGAIN; }
    [[nodiscard]] int send(std::span<const iovec>) override { return -EAGAIN; }
    void enable(bool) override {}
};

class NoNetwork final : public BackEnd {
public:
    [[nodiscard]] std::uint16_t queue_count() const override { return 4; }
    [[nodiscard]] Queue& queue(std::uint16_t) override { return queue_; }
    void set_coalescing(Coalescing) override {}
    void set_scaling(const ReceiveScaling&) override {}
    void set_plugged(bool) override {}

private:
    NoQueue queue_;
};

template <typename Asked>
void attempt(const Asked& asked) {
    try {
        asked();
    } catch (const Error&) { // as it should be
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    NoNetwork network;
    // What would be said on the bus's thread is said at once.
    Adapter adapter({{},
                        [](const std::function<void()>& posted) {
                            posted();
                        }},
        network, MacAddress{{2}}, 1500);
    ManagedAdapter managed(adapter, [] { return ManagedAdapter::Condition{true, false}; });
    const auto answer = [&](std::span<const std::uint8_t> question) {
        vmbus::remote::Bytes answer;
        managed.answer(question, [&](vmbus::remote::Bytes bytes) { answer = std::move(bytes); });
        return answer;
    };
    (void)vdev::Record::decode(answer({data, size}));
    const DistantAdapter honest(answer);
    (void)honest.report();
    (void)honest.save();

    const DistantAdapter liar([&](const auto&) { return vmbus::remote::Bytes(data, data + size); });
    attempt([&] { liar.set_plugged(true); });
    attempt([&] { (void)liar.report(); });
    attempt([&] { honest.restore(liar.save()); });
    return 0;
}
