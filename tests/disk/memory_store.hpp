// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/store.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace croft::disk::test {

// The contents of a file, sparse.
class SparseBytes {
public:
    std::uint64_t size() const { return size_; }
    void resize(std::uint64_t size);
    void read(std::uint64_t offset, std::span<std::byte> bytes) const; // beyond the end: zeros
    void write(std::uint64_t offset, std::span<const std::byte> bytes);
    void zero(std::uint64_t offset, std::uint64_t length);

private:
    static constexpr std::uint64_t page_size = 4096;
    using Page = std::vector<std::byte>;
    Page& changeable(std::uint64_t offset);

    std::map<std::uint64_t, std::shared_ptr<Page>> pages_; // shared by copies until one changes
    std::uint64_t size_ = 0;
};

// What happened to a store, in order.
struct Event {
    enum class Kind : std::uint8_t { write, zero, resize, flush, read }; // reads are not recorded
    Kind kind;
    std::uint64_t offset = 0; // of resize: the size
    std::uint64_t length = 0;
    std::vector<std::byte> bytes;
    std::uint64_t when = 0; // in the order of all files
};
// How many events there have been, in all files that record theirs.
std::uint64_t events_so_far();
void apply(const Event& event, SparseBytes& bytes);

// A store in memory that can write down what happens to it, and fail on purpose.
class MemoryStore final : public Store {
public:
    struct Contents {
        std::mutex mutex;
        SparseBytes bytes;
        std::vector<Event> events;
        bool record = false;
        // The memory that asynchronous reads and writes were given, while `record_memory`.
        std::vector<iovec> memory;
        bool record_memory = false;
        bool has_holes = true; // what is discarded is given back
        // Asked before each call, without the mutex: an errno, or 0. It may cut the length of a
        // write or of an asynchronous read, which then fails after that much.
        std::function<int(const Event& call, std::size_t& length)> fault;
        std::atomic<int> flush_failed = 0; // the error that flushes go on telling
    };

    explicit MemoryStore(std::shared_ptr<Contents> contents, bool read_only = false);

    const std::string& name() const override { return name_; }
    const Traits& traits() const override { return traits_; }
    std::uint64_t size() const override;
    Result<void> read(std::uint64_t offset, std::span<std::byte> bytes) override;
    Result<void> write(std::uint64_t offset, std::span<const std::byte> bytes) override;
    Result<void> flush() override;
    Result<void> resize(std::uint64_t size) override;
    Result<void> zero(std::uint64_t offset, std::uint64_t length) override;
    Result<void> discard(std::uint64_t offset, std::uint64_t length) override;
    Result<void> remeasure() override { return {}; }
    Result<void> allocate(std::uint64_t offset, std::uint64_t length) override;
    Range next_data(std::uint64_t offset, std::uint64_t end) override;
    Result<std::unique_ptr<Store>> open_for_writing() override;
    void start_read(Ring& ring, std::uint64_t offset, std::span<const iovec> segments,
        Completion& completion) noexcept override;
    void start_write(Ring& ring, std::uint64_t offset, std::span<const iovec> segments,
        Completion& completion) noexcept override;

private:
    int fault(const Event& call, std::size_t& length) const;
    void record_memory(std::span<const iovec> segments);
    int change(Event event, std::size_t& length);
    int change(Event event);

    std::string name_ = "memory";
    Traits traits_;
    std::shared_ptr<Contents> contents_;
};

} // namespace croft::disk::test
