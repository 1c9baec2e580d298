// SPDX-License-Identifier: Apache-2.0
#include "disk/disk.hpp"
#include "disk/open.hpp"
#include "disk/uring_ring.hpp"

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fmt/format.h>
#include <memory>
#include <random>
#include <string>
#include <vector>

// queue_bench FILE read|write COUNT DEPTH STEP
//
// COUNT requests of 4 KiB with DEPTH of them in flight, STEP bytes apart, or all over the disk if
// STEP is 0; then a flush. Prints the seconds that it took.
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
          size_{disk.geometry().size} {}

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
        const std::uint64_t places = size_ / request_size;
        slot.request.offset =
            (step_ != 0 ? (position_ += step_) / request_size % places : random_() % places) *
            request_size;
        queue_->submit(slot.request);
    }

    std::unique_ptr<Queue> queue_;
    Operation operation_;
    unsigned left_;
    std::uint64_t step_;
    std::uint64_t size_;
    std::uint64_t position_ = 0;
    std::mt19937_64 random_{1};
    std::vector<std::unique_ptr<Slot>> slots_;
};

int run(const std::string& path, bool write, unsigned count, unsigned depth, std::uint64_t step) {
    auto chain = open_chain(path, {.write = write});
    const auto ring = UringRing::create(256);
    if (!chain || !ring) {
        fmt::print(stderr, "{}\n", (chain ? ring.error() : chain.error()).text());
        return 2;
    }
    Disk disk{*std::move(chain)};
    const auto begin = std::chrono::steady_clock::now();
    {
        Load load{disk, **ring, write ? Operation::write : Operation::read, count, step};
        load.start(depth);
        while (load.busy())
            (*ring)->run(true);
    }
    if (write && !disk.chain().flush())
        return 2;
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    fmt::print("{:.6f}\n", took.count());
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
