// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/store.hpp"

#include <atomic>
#include <memory>
#include <utility>

namespace croft::disk {

// A descriptor that closes itself.
class Descriptor {
public:
    Descriptor() = default;
    explicit Descriptor(int number) : number_{number} {}
    Descriptor(Descriptor&& other) noexcept : number_{std::exchange(other.number_, -1)} {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        std::swap(number_, other.number_);
        return *this;
    }
    ~Descriptor();

    int get() const { return number_; }
    bool valid() const { return number_ >= 0; }

private:
    int number_ = -1;
};

// A regular file or a block device.
//
// The file is locked: shared for reading, exclusive for writing, so that two writers, or a writer
// and a reader, are refused; the error names who holds it.
class FileStore final : public Store {
public:
    struct Options {
        bool write = false;
        bool direct = false; // asynchronous calls bypass the page cache (O_DIRECT)
        bool create = false; // makes the file; it must not exist unless `replace`
        bool replace = false;
        bool lock = true;
        // false: flush() does nothing, for who wants the kernel to write back in its own time.
        bool durable = true;
        // false: order() does nothing either. For a new file that nobody relies on until it is
        // complete.
        bool ordered = true;
    };
    static Result<std::unique_ptr<FileStore>> open(const std::string& path, const Options& options);
    ~FileStore() override;

    const std::string& name() const override { return name_; }
    const Traits& traits() const override { return traits_; }
    std::uint64_t size() const override { return size_.load(std::memory_order_acquire); }
    std::uint64_t end() const override;
    Result<void> read(std::uint64_t offset, std::span<std::byte> bytes) override;
    bool read_at_once(std::uint64_t offset, std::span<std::byte> bytes) override;
    Result<void> write(std::uint64_t offset, std::span<const std::byte> bytes) override;
    Result<void> flush() override;
    Result<void> order() override;
    Result<void> resize(std::uint64_t size) override;
    Result<void> zero(std::uint64_t offset, std::uint64_t length) override;
    Result<void> discard(std::uint64_t offset, std::uint64_t length) override;
    Result<void> remeasure() override;
    std::string identity() const override;
    Result<void> allocate(std::uint64_t offset, std::uint64_t length) override;
    Range next_data(std::uint64_t offset, std::uint64_t end) override;
    Result<std::unique_ptr<Store>> open_for_writing() override;
    std::optional<std::int64_t> modified() const override;
    int descriptor() const override { return file_.get(); }

    void start_read(Ring& ring, std::uint64_t offset, std::span<const iovec> segments,
        Completion& completion) noexcept override;
    void start_write(Ring& ring, std::uint64_t offset, std::span<const iovec> segments,
        Completion& completion) noexcept override;

private:
    explicit FileStore(std::string name) : name_{std::move(name)} {}
    Result<void> measure(const Options& options);
    Result<void> measure_device();
    Result<void> open_direct(const std::string& path, const Options& options);
    void look_for_discard();
    Result<void> discard_of_device(std::uint64_t offset, std::uint64_t length);
    Result<void> sync();
    Result<void> write_zeros(std::uint64_t offset, std::uint64_t length);
    int data_descriptor(std::uint64_t offset, std::span<const iovec> segments) const noexcept;
    void grown_to(std::uint64_t end) noexcept;

    std::string name_;
    Traits traits_;
    bool durable_ = true;
    bool ordered_ = true;
    // Metadata goes through the page cache in any case; the kernel keeps the two views coherent.
    Descriptor file_;
    Descriptor direct_;
    bool locked_ = false;
    int lender_ = -1; // of a store made by open_for_writing(): the descriptor that holds the lock
    std::atomic<std::uint64_t> size_{0};
    std::atomic<int> flush_failed_{0}; // errno of the first flush that failed
};

} // namespace croft::disk
