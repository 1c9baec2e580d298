// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/stored.hpp"
#include "tests/disk/history.hpp"
#include "tests/disk/images.hpp"
#include "tests/disk/queue_driver.hpp"

#include <algorithm>
#include <random>
#include <vector>

namespace croft::disk::test {

// What a disk made by MemoryFolder::create() holds at first.
inline std::vector<History::Tag> first_contents(const Kind& kind, std::uint64_t sectors) {
    std::vector<History::Tag> tags(sectors);
    if (kind.allocation == Allocation::differencing) {
        for (std::uint64_t i = 0; i < sectors; ++i)
            tags[i] = std::to_integer<History::Tag>(parent_byte(i * kind.sector_size)) *
                0x0101010101010101U;
    }
    return tags;
}

// One of several users of a disk: reads, writes, zeroes, discards and flushes all over it, and
// checks what it reads against the history of all of them.
class OneOfMany {
public:
    OneOfMany(Disk& disk, History& history, std::uint32_t sector_size, unsigned seed)
        : driver_{disk},
          history_{history},
          sector_size_{sector_size},
          random_{seed} {}

    void run(int steps) {
        for (int step = 0; step < steps && good_; ++step) {
            const bool large = random_() % 16 == 0;
            const std::uint64_t most = (large ? 3U << 20U : 32U << 10U) / sector_size_;
            const std::uint64_t first = random_() % history_.sectors();
            const std::uint64_t count = std::min(1 + random_() % most, history_.sectors() - first);
            switch (random_() % 10) {
            case 0:
                good_ &= driver_.simple(Operation::flush).ok();
                break;
            case 1:
                change(first, count, Operation::discard);
                break;
            case 2:
                change(first, count, Operation::write_zeroes);
                break;
            case 3:
            case 4:
            case 5:
                read(first, count);
                break;
            default:
                change(first, count, Operation::write);
            }
        }
    }

    bool good() const { return good_; }

private:
    void change(std::uint64_t first, std::uint64_t count, Operation operation) {
        const std::uint64_t offset = first * sector_size_;
        const std::uint64_t length = count * sector_size_;
        const History::Tag tag = operation == Operation::write ? history_.new_tag() : 0;
        const auto begun = history_.begin(first, count, tag, operation != Operation::discard);
        if (operation == Operation::write) {
            std::vector<std::byte> bytes(length);
            for (std::size_t at = 0; at < length; at += sizeof tag)
                save(bytes, at, tag);
            good_ &= driver_.write(offset, bytes).ok();
        } else {
            good_ &= driver_.simple(operation, offset, length).ok();
        }
        history_.end(first, count, begun);
    }

    void read(std::uint64_t first, std::uint64_t count) {
        std::vector<std::byte> bytes(count * sector_size_);
        const History::Reading reading{history_};
        good_ &= driver_.read(first * sector_size_, bytes).ok();
        for (std::uint64_t i = 0; i < count && good_; ++i) {
            // A sector that is being written may be old at one end and new at the other.
            for (const std::uint64_t at : {i * sector_size_, (i + 1) * sector_size_ - 8})
                good_ &= history_.allows(first + i, load<History::Tag>(bytes, at), reading.begun);
        }
    }

    QueueDriver driver_;
    History& history_;
    std::uint64_t sector_size_;
    std::mt19937_64 random_;
    bool good_ = true;
};

} // namespace croft::disk::test
