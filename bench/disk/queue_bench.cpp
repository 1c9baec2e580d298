// SPDX-License-Identifier: Apache-2.0
#include "disk/disk.hpp"
#include "disk/open.hpp"
#include "disk/uring_ring.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fmt/format.h>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

// queue_bench FILE read|write COUNT DEPTH STEP
//
// COUNT requests of 4 KiB with DEPTH of them in flight, STEP bytes apart, or if STEP is 0 at places
// drawn at random, none of them twice; then a flush. Prints the seconds that it took, and the most
// memory that was resident, in KiB.
namespace {

using namespace croft::disk;

constexpr std::size_t request_size = 4096;

class Load {
public:
    Load(Disk& disk, Ring& ring, Operation operation, unsigned count, std::uint64_t step)
        : queue_{disk.open_queue(ring)},
          operation_{operation},
          left_{count},
          step_{step},
          places_{disk.geometry().size / request_size} {
        if (step_ == 0)
            draw(count);
    }

    void start(unsigned depth) {
        slots_.resize(depth);
        for (auto& slot : slots_) {
            slot = std::make_unique<Slot>();
            std::memset(slot->bytes.data(), 0x5a, slot->bytes.size());
            slot->load = this;
            slot->segment = {slot->bytes.data(), slot->bytes.size()};
            slot->request.operation = operation_;
            slot->request.length = request_size;
            slot->request.segments = {&slot->segment, 1};
            slot->request.context = slot.get();
            slot->request.done = [](Request& request) noexcept {
                auto& self = *static_cast<Slot*>(request.context);
                if (!request.status.ok())
                    std::abort();
                self.load->next(self);
            };
            next(*slot);
        }
    }
    bool busy() const { return queue_->in_flight() > 0; }

private:
    // The beginning of a permutation of all places, of which only what was swapped is kept.
    void draw(std::uint64_t count) {
        std::mt19937_64 random{1};
        std::unordered_map<std::uint64_t, std::uint64_t> swapped;
        const auto at = [&swapped](std::uint64_t place) {
            const auto found = swapped.find(place);
            return found != swapped.end() ? found->second : place;
        };
        count = std::min(count, places_);
        for (std::uint64_t i = 0; i < count; ++i) {
            const std::uint64_t other = i + random() % (places_ - i);
            drawn_.push_back(at(other));
            swapped[other] = at(i);
        }
        left_ = static_cast<unsigned>(count);
    }

    struct Slot {
        Load* load = nullptr;
        Request request;
        iovec segment{};
        alignas(4096) std::array<std::byte, request_size> bytes;
    };

    void next(Slot& slot) noexcept {
        if (left_ == 0)
            return;
        --left_;
        const std::uint64_t place =
            step_ != 0 ? (position_ += step_) / request_size % places_ : drawn_[left_];
        slot.request.offset = place * request_size;
        queue_->submit(slot.request);
    }

    std::unique_ptr<Queue> queue_;
    Operation operation_;
    unsigned left_;
    std::uint64_t step_;
    std::uint64_t places_;
    std::uint64_t position_ = 0;
    std::vector<std::uint64_t> drawn_;
    std::vector<std::unique_ptr<Slot>> slots_;
};

// Not by getrusage(), which counts what the process was before it became this program.
unsigned long peak_kib() {
    std::ifstream status{"/proc/self/status"};
    for (std::string word; status >> word;) {
        unsigned long kib = 0;
        if (word == "VmHWM:" && status >> kib)
            return kib;
    }
    return 0;
}

int run(const std::string& path, bool write, unsigned count, unsigned depth, std::uint64_t step) {
    auto chain = open_chain(path, {.write = write});
    const auto ring = UringRing::create(256);
    if (!chain || !ring) {
        fmt::print(stderr, "{}\n", (chain ? ring.error() : chain.error()).text());
        return 2;
    }
    Disk disk{*std::move(chain)};
    std::chrono::steady_clock::time_point begin;
    {
        Load load{disk, **ring, write ? Operation::write : Operation::read, count, step};
        begin = std::chrono::steady_clock::now();
        load.start(depth);
        while (load.busy())
            (*ring)->run(true);
    }
    if (write && !disk.chain().flush())
        return 2;
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    fmt::print("{:.6f} {}\n", took.count(), peak_kib());
    return disk.close() ? 0 : 2;
}

} // namespace

int main(int argc, char** argv) {
    if (argc != 6) {
        fmt::print(stderr, "usage: {} FILE read|write COUNT DEPTH STEP\n", argv[0]);
        return 64;
    }
    return run(argv[1], std::string{argv[2]} == "write",
        static_cast<unsigned>(std::strtoul(argv[3], nullptr, 10)),
        static_cast<unsigned>(std::strtoul(argv[4], nullptr, 10)),
        std::strtoull(argv[5], nullptr, 10));
}
