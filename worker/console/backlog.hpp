// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace croft::worker {

/// The last bytes of an endless stream. A position is how many bytes of the stream come before it.
class Backlog {
public:
    /// Keeps at most `capacity` bytes, which cost memory only once they are used.
    explicit Backlog(std::size_t capacity)
        : capacity_(capacity),
          bytes_(std::make_unique_for_overwrite<std::uint8_t[]>(capacity)) {}

    void append(std::span<const std::uint8_t> bytes) {
        for (const std::uint8_t byte : bytes) {
            bytes_[end_++ % capacity_] = byte;
            if (byte == '\n') {
                line_ = end_;
            }
        }
    }

    /// Of the oldest byte that is kept.
    [[nodiscard]] std::uint64_t begin() const { return end_ - std::min(end_, capacity_); }
    [[nodiscard]] std::uint64_t end() const { return end_; }
    /// Of the line that the stream is in, as far as it is kept.
    [[nodiscard]] std::uint64_t line() const { return std::max(line_, begin()); }

    /// The bytes from a position between `begin` and `end` on that lie together: all of them, or
    /// all up to some later position.
    [[nodiscard]] std::span<const std::uint8_t> from(std::uint64_t position) const {
        const std::uint64_t offset = position % capacity_;
        return {bytes_.get() + offset, std::min(end_ - position, capacity_ - offset)};
    }

private:
    std::uint64_t capacity_;
    std::unique_ptr<std::uint8_t[]> bytes_;
    std::uint64_t end_ = 0;
    std::uint64_t line_ = 0;
};

} // namespace croft::worker
