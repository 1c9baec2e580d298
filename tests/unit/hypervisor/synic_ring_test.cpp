// SPDX-License-Identifier: Apache-2.0
// Event rings.
#include "tests/unit/hypervisor/synic_fixture.hpp"

#include <array>
#include <mutex>

namespace hypervisor {
namespace {

/// The other end of a ring, as the root's kernel reads it.
class RingReader {
public:
    RingReader(Pages& pages, unsigned sint, std::function<void()> ring_empty)
        : ring_{reinterpret_cast<std::byte*>(&pages.rings) + sint * 256},
          ring_empty_{std::move(ring_empty)} {}

    /// The next port, or 0.
    std::uint32_t next() {
        std::uint32_t port = data(tail_).load();
        if (port == 0) {
            if (full().load() != 0) {
                full().store(0);
                ring_empty_();
                port = data(tail_).load();
            }
            if (port == 0) {
                masked().store(0);
                port = data(tail_).load();
                if (port == 0) {
                    return 0;
                }
            }
            masked().store(1);
        }
        data(tail_).store(0);
        tail_ = tail_ + 1 == 63 ? 0 : tail_ + 1;
        return port;
    }
    std::atomic_ref<std::uint8_t> masked() {
        return std::atomic_ref{*reinterpret_cast<std::uint8_t*>(ring_)};
    }
    std::atomic_ref<std::uint8_t> full() {
        return std::atomic_ref{*reinterpret_cast<std::uint8_t*>(ring_ + 1)};
    }
    std::atomic_ref<std::uint32_t> data(std::size_t index) {
        return std::atomic_ref{*reinterpret_cast<std::uint32_t*>(ring_ + 4 + 4 * index)};
    }

private:
    std::byte* ring_;
    std::function<void()> ring_empty_;
    std::size_t tail_ = 0;
};

TEST_F(SynicTest, TheRingIsSignalledOnceUntilItHasBeenRead) {
    RingReader reader{*pages_, 1, [] {
                          FAIL() << "it was never full";
                      }};
    EXPECT_EQ(synic_.push_event(1, 10), Synic::RingResult::signal);
    EXPECT_EQ(synic_.push_event(1, 11), Synic::RingResult::queued);
    EXPECT_EQ(synic_.push_event(1, 12), Synic::RingResult::queued);
    EXPECT_EQ(reader.data(0).load(), 10u);
    EXPECT_EQ(reader.next(), 10u);
    EXPECT_EQ(synic_.push_event(1, 13), Synic::RingResult::queued) << "it is being read";
    EXPECT_EQ(reader.next(), 11u);
    EXPECT_EQ(reader.next(), 12u);
    EXPECT_EQ(reader.next(), 13u);
    EXPECT_EQ(reader.next(), 0u);
    EXPECT_EQ(synic_.push_event(1, 14), Synic::RingResult::signal);
    EXPECT_EQ(reader.next(), 14u);
    // The ring of another SINT is another.
    EXPECT_EQ(synic_.push_event(2, 99), Synic::RingResult::signal);
    EXPECT_EQ(reader.next(), 0u);
}

TEST_F(SynicTest, AFullRingLosesNothingAndSaysWhenItIsEmpty) {
    unsigned emptied = 0;
    RingReader reader{*pages_, 1, [&] {
                          ++emptied;
                          // What had no room comes now.
                          EXPECT_NE(synic_.push_event(1, 1000), Synic::RingResult::full);
                      }};
    for (std::uint32_t round = 0; round < 5; ++round) {
        // From another place in the ring each time.
        for (std::uint32_t i = 0; i < 63; ++i) {
            ASSERT_EQ(synic_.push_event(1, 1 + i),
                i == 0 ? Synic::RingResult::signal : Synic::RingResult::queued);
        }
        EXPECT_EQ(reader.full().load(), 0);
        EXPECT_EQ(synic_.push_event(1, 500), Synic::RingResult::full);
        EXPECT_EQ(reader.full().load(), 1);
        for (std::uint32_t i = 0; i < 63; ++i) {
            ASSERT_EQ(reader.next(), 1 + i);
        }
        EXPECT_EQ(emptied, round);
        EXPECT_EQ(reader.next(), 1000u);
        EXPECT_EQ(emptied, round + 1);
        EXPECT_EQ(reader.next(), 0u);
        for (std::uint32_t i = 0; i < 10; ++i) {
            (void)synic_.push_event(1, 7);
            ASSERT_EQ(reader.next(), 7u);
        }
        EXPECT_EQ(reader.next(), 0u);
    }
}

TEST_F(SynicTest, RingsThatAreOffTakeNothing) {
    synic_.set_control(0);
    EXPECT_EQ(synic_.push_event(1, 5), Synic::RingResult::disabled);
    synic_.set_control(enabled);
    synic_.set_event_ring_page(nullptr);
    EXPECT_EQ(synic_.push_event(1, 5), Synic::RingResult::disabled);
    EXPECT_EQ(RingReader(*pages_, 1, [] {}).data(0).load(), 0u);
}

/// Doorbells through ring and message slot together, with what partition/doorbell.cpp does about a
/// ring that is full: after every ring the guest sees what was there before it.
TEST_F(SynicTest, NoDoorbellIsLostBetweenTwoProcessors) {
    constexpr unsigned bells = 200;
    constexpr unsigned rounds = 150;
    ASSERT_TRUE(synic_.set_sint(0, 0x50));
    std::array<std::atomic<unsigned>, bells + 1> work{};
    std::array<std::atomic<unsigned>, bells + 1> seen{};
    std::array<bool, bells + 1> waiting{};
    std::mutex ports;
    SynicMessage notification;
    Guest* self = nullptr;
    const auto ring = [&](std::uint32_t port) { // under the lock
        switch (synic_.push_event(1, port)) {
        case Synic::RingResult::signal:
            notification.set(HVMSG_SYNIC_SINT_INTERCEPT, 1, std::uint32_t{1});
            self->interrupt(synic_.post(0, notification));
            break;
        case Synic::RingResult::full:
            waiting[port] = true;
            break;
        case Synic::RingResult::queued:
            break;
        case Synic::RingResult::disabled:
            FAIL();
        }
    };
    RingReader reader{*pages_, 1, [&] {
                          const std::lock_guard guard{ports};
                          for (std::uint32_t port = 1; port <= bells; ++port) {
                              if (waiting[port]) {
                                  waiting[port] = false;
                                  ring(port);
                              }
                          }
                      }};
    Guest guest{[&] {
        Slot mine = slot(0);
        if (mine.type() == HVMSG_NONE) {
            return;
        }
        while (const std::uint32_t port = reader.next()) {
            seen[port] = work[port].load();
        }
        if (mine.free()) {
            self->interrupt(synic_.end_of_message());
        }
    }};
    self = &guest;
    for (unsigned round = 1; round <= rounds; ++round) {
        for (std::uint32_t port = 1; port <= bells; ++port) {
            work[port] = round;
            const std::lock_guard guard{ports};
            ring(port);
        }
        if (round % 8 == 0) {
            ASSERT_TRUE(comes_true([&] { return seen[bells] == round; })) << "round " << round;
        }
    }
    for (unsigned port = 1; port <= bells; ++port) {
        EXPECT_TRUE(comes_true([&] { return seen[port] == rounds; }))
            << "bell " << port << " rang unheard: " << seen[port];
    }
}

} // namespace
} // namespace hypervisor
