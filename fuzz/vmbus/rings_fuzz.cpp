// SPDX-License-Identifier: Apache-2.0
//
// Rings whose header and contents are a guest's word, and change while they are read.
#include "vmbus/ring/incoming_ring.hpp"
#include "vmbus/ring/outgoing_ring.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

namespace {

using namespace croft::vmbus;

/// A header and two pages.
class Pages final : public GuestPages {
public:
    std::uint8_t* page(std::uint64_t page) const override {
        return page < bytes_.size() ? bytes_.at(page).data() : nullptr;
    }

private:
    using Page = std::array<std::uint8_t, 4096>;
    alignas(4096) mutable std::array<Page, 3> bytes_{};
};

constexpr std::uint32_t largest = 4096;

void look_at(const Packet& packet) {
    if (packet.payload.size() + packet.header.size_bytes() > largest) {
        std::abort();
    }
    std::vector<PageRange> ranges;
    if (parse_gpa_direct(packet, ranges)) {
        for (const PageRange& range : ranges) {
            volatile std::uint64_t sum = 0;
            for (const std::uint64_t page : range.pages) {
                sum = sum + page;
            }
        }
    }
    std::vector<protocol::TransferPageRange> transfer;
    (void)parse_transfer_pages(packet, transfer);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Pages pages;
    std::span<const std::uint8_t> input(data, size);
    const auto take = [&](std::size_t count) {
        const auto part = input.first(std::min(count, input.size()));
        input = input.subspan(part.size());
        return part;
    };
    const auto fields = take(20);
    std::ranges::copy(fields.first(std::min<std::size_t>(16, fields.size())), pages.page(0));
    if (fields.size() == 20) {
        std::ranges::copy(fields.subspan(16), pages.page(0) + 64);
    }
    std::ranges::copy(take(256), pages.page(1));
    const std::array<std::uint64_t, 3> numbers = {0, 1, 2};
    auto memory = RingMemory::map(numbers, pages);
    auto incoming = IncomingRing::attach(*memory, largest);
    auto outgoing = OutgoingRing::attach(*memory);
    Packet packet;
    while (!input.empty()) {
        if (incoming) {
            if (const auto read = incoming->read(packet); read && *read) {
                look_at(packet);
            }
            (void)incoming->commit();
            (void)incoming->unmask();
            incoming->mask();
        }
        if (outgoing) {
            OutgoingPacket out;
            out.payload[0] = take(input.front());
            (void)outgoing->write(out);
            (void)outgoing->commit();
            (void)outgoing->wait_for_space(static_cast<std::uint32_t>(out.size()));
        }
        const auto change = take(6);
        if (change.size() == 6) {
            const std::size_t offset = (change[0] | change[1] << 8) % (4096 - 4);
            std::memcpy(pages.page(change[0] % 3) + offset, change.data() + 2, 4);
        }
    }
    return 0;
}
