// SPDX-License-Identifier: Apache-2.0
#include "worker/console/port_input.hpp"

#include "worker/executor/vm_clock.hpp"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <gtest/gtest.h>
#include <string>
#include <string_view>

namespace croft::worker {
namespace {

/// A port with room for a few bytes, which its guest takes when the test says so.
class Port final : public vdev::CharacterSink {
public:
    std::size_t receive(std::span<const std::uint8_t> bytes) override {
        const std::size_t taken = std::min(bytes.size(), room);
        room -= taken;
        text.append(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
        if (taken == 0 && when_full) {
            when_full();
        }
        return taken;
    }
    void output_possible() override {}

    std::size_t room = 16;
    std::string text;
    std::function<void()> when_full;
};

class PortInputTest : public testing::Test {
protected:
    void type(std::string_view text) {
        const std::vector<std::uint8_t> bytes(text.begin(), text.end());
        input.add(bytes);
    }
    /// The guest empties the port, which then asks for more.
    void take() {
        port.room = 16;
        input.wanted();
    }
    /// All that has been posted is done.
    void settle() {
        loop.post([this] { loop.quit(); });
        loop.run();
    }

    VmClock clock;
    IoLoop loop{clock};
    int resumed = 0;
    std::function<void()> when_resumed = [] {
    };
    PortInput input{loop, [this] {
                        ++resumed;
                        when_resumed();
                    }};
    Port port;
};

TEST_F(PortInputTest, ComesAtThePortsPace) {
    input.connect(&port);
    type("0123456789");
    EXPECT_TRUE(input.empty());
    type("0123456789");
    EXPECT_FALSE(input.empty());
    EXPECT_EQ(port.text, "0123456789012345");
    take();
    settle();
    EXPECT_EQ(port.text, "01234567890123456789");
    EXPECT_TRUE(input.empty());
    EXPECT_EQ(resumed, 1);
}

TEST_F(PortInputTest, WaitsForAPort) {
    type("early");
    EXPECT_FALSE(input.empty());
    input.connect(&port);
    input.wanted();
    settle();
    EXPECT_EQ(port.text, "early");
    EXPECT_EQ(resumed, 1);
}

/// A port asks once. If its guest empties it at the very moment at which it has said that it is
/// full, that isn't missed.
TEST_F(PortInputTest, HearsAPortThatAsksAtOnce) {
    input.connect(&port);
    port.when_full = [this] {
        take();
    };
    const std::string line(75, 'x');
    type(line);
    when_resumed = [this] {
        loop.quit();
    };
    loop.after(10'000'000'000, [this](int) { loop.quit(); }); // it will not be heard any more
    loop.run();
    EXPECT_EQ(port.text, line);
}

} // namespace
} // namespace croft::worker
