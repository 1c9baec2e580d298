// SPDX-License-Identifier: Apache-2.0
#include "tests/disk/memory_store.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

namespace croft::disk::test {

void SparseBytes::resize(std::uint64_t size) {
    if (size < size_)
        zero(size, size_ - size);
    size_ = size;
}

void SparseBytes::read(std::uint64_t offset, std::span<std::byte> bytes) const {
    while (!bytes.empty()) {
        const std::uint64_t within = offset % page_size;
        const auto step =
            static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), page_size - within));
        const auto page = pages_.find(offset - within);
        if (page == pages_.end())
            std::memset(bytes.data(), 0, step);
        else
            std::memcpy(bytes.data(), page->second->data() + within, step);
        offset += step;
        bytes = bytes.subspan(step);
    }
}

void SparseBytes::write(std::uint64_t offset, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const std::uint64_t within = offset % page_size;
        const auto step =
            static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), page_size - within));
        std::memcpy(changeable(offset - within).data() + within, bytes.data(), step);
        offset += step;
        bytes = bytes.subspan(step);
        size_ = std::max(size_, offset);
    }
}

SparseBytes::Page& SparseBytes::changeable(std::uint64_t offset) {
    auto& page = pages_[offset];
    if (!page)
        page = std::make_shared<Page>(page_size);
    else if (page.use_count() > 1)
        page = std::make_shared<Page>(*page);
    return *page;
}

void SparseBytes::zero(std::uint64_t offset, std::uint64_t length) {
    const std::uint64_t end = offset + length;
    for (auto page = pages_.lower_bound(offset / page_size * page_size);
         page != pages_.end() && page->first < end;) {
        const std::uint64_t from = std::max(page->first, offset);
        const std::uint64_t to = std::min(page->first + page_size, end);
        if (to - from == page_size) {
            page = pages_.erase(page);
            continue;
        }
        std::memset(changeable(page->first).data() + (from - page->first), 0, to - from);
        ++page;
    }
}

namespace {
std::atomic<std::uint64_t> event_count{0};
} // namespace

std::uint64_t events_so_far() {
    return event_count.load();
}

void apply(const Event& event, SparseBytes& bytes) {
    switch (event.kind) {
    case Event::Kind::write:
        bytes.write(event.offset, event.bytes);
        break;
    case Event::Kind::zero:
        bytes.zero(event.offset, event.length);
        break;
    case Event::Kind::resize:
        bytes.resize(event.offset);
        break;
    case Event::Kind::flush:
    case Event::Kind::read:
        break;
    }
}

MemoryStore::MemoryStore(std::shared_ptr<Contents> contents, bool read_only)
    : contents_{std::move(contents)} {
    traits_.read_only = read_only;
    traits_.discard_granularity = contents_->has_holes ? 4096 : 0;
    traits_.zero_gives_back = contents_->has_holes;
}

std::uint64_t MemoryStore::size() const {
    const std::lock_guard lock{contents_->mutex};
    return contents_->bytes.size();
}

int MemoryStore::fault(const Event& call, std::size_t& length) const {
    return contents_->fault ? contents_->fault(call, length) : 0;
}

Result<void> MemoryStore::read(std::uint64_t offset, std::span<std::byte> bytes) {
    std::size_t length = bytes.size();
    if (const int error = fault({Event::Kind::read, offset, bytes.size(), {}}, length))
        return std::unexpected(Error::system(name_, "read", error));
    const std::lock_guard lock{contents_->mutex};
    const std::uint64_t size = contents_->bytes.size();
    if (offset > size || bytes.size() > size - offset)
        return std::unexpected(Error::corrupt(name_, offset, "the file ends here"));
    contents_->bytes.read(offset, bytes);
    return {};
}

// Answers an errno; `length` is how much of a write was done.
int MemoryStore::change(Event event, std::size_t& length) {
    length = event.bytes.size();
    const int error = fault(event, length);
    if (error == 0)
        length = event.bytes.size();
    else if (event.kind != Event::Kind::write || length == 0) {
        length = 0;
        return error;
    }
    event.bytes.resize(length);
    const std::lock_guard lock{contents_->mutex};
    apply(event, contents_->bytes);
    event.when = contents_->record ? event_count.fetch_add(1) : 0;
    if (contents_->record)
        contents_->events.push_back(std::move(event));
    return error;
}

int MemoryStore::change(Event event) {
    std::size_t length = 0;
    return change(std::move(event), length);
}

Result<void> MemoryStore::write(std::uint64_t offset, std::span<const std::byte> bytes) {
    if (const int error =
            change({Event::Kind::write, offset, bytes.size(), {bytes.begin(), bytes.end()}}))
        return std::unexpected(Error::system(name_, "write", error));
    return {};
}

Result<void> MemoryStore::flush() {
    int error = contents_->flush_failed;
    if (error == 0)
        error = change({Event::Kind::flush, 0, 0, {}});
    if (error == 0)
        return {};
    contents_->flush_failed = error;
    return std::unexpected(Error::system(name_, "flush", error));
}

Result<void> MemoryStore::resize(std::uint64_t size) {
    if (const int error = change({Event::Kind::resize, size, 0, {}}))
        return std::unexpected(Error::system(name_, "resize", error));
    return {};
}

Result<void> MemoryStore::zero(std::uint64_t offset, std::uint64_t length) {
    if (const int error = change({Event::Kind::zero, offset, length, {}}))
        return std::unexpected(Error::system(name_, "zero", error));
    return {};
}

Result<void> MemoryStore::discard(std::uint64_t offset, std::uint64_t length) {
    return traits_.discard_granularity != 0 ? zero(offset, length) : Result<void>{};
}

Result<void> MemoryStore::allocate(std::uint64_t offset, std::uint64_t length) {
    return offset + length > size() ? resize(offset + length) : Result<void>{};
}

Store::Range MemoryStore::next_data(std::uint64_t offset, std::uint64_t end) {
    end = std::min(end, size());
    return {offset, end > offset ? end - offset : 0};
}

Result<std::unique_ptr<Store>> MemoryStore::open_for_writing() {
    return std::make_unique<MemoryStore>(contents_);
}

void MemoryStore::record_memory(std::span<const iovec> segments) {
    const std::lock_guard lock{contents_->mutex};
    if (contents_->record_memory)
        contents_->memory.insert(contents_->memory.end(), segments.begin(), segments.end());
}

void MemoryStore::start_read(Ring& ring, std::uint64_t offset, std::span<const iovec> segments,
    Completion& completion) noexcept {
    record_memory(segments);
    int moved = 0;
    for (const iovec& segment : segments) {
        std::size_t length = segment.iov_len;
        const int error = fault({Event::Kind::read, offset, length, {}}, length);
        auto* const bytes = static_cast<std::byte*>(segment.iov_base);
        const std::lock_guard lock{contents_->mutex};
        const std::uint64_t left =
            contents_->bytes.size() - std::min(contents_->bytes.size(), offset);
        if (error != 0 || left < length) {
            length = error != 0 ? std::min<std::size_t>(length, left) : left;
            contents_->bytes.read(offset, {bytes, length});
            moved += static_cast<int>(length);
            ring.post(completion, moved > 0 ? moved : -error);
            return;
        }
        contents_->bytes.read(offset, {bytes, length});
        offset += segment.iov_len;
        moved += static_cast<int>(segment.iov_len);
    }
    ring.post(completion, moved);
}

void MemoryStore::start_write(Ring& ring, std::uint64_t offset, std::span<const iovec> segments,
    Completion& completion) noexcept {
    record_memory(segments);
    int moved = 0;
    for (const iovec& segment : segments) {
        const std::span bytes{static_cast<const std::byte*>(segment.iov_base), segment.iov_len};
        std::size_t length = 0;
        if (const int error = change(
                {Event::Kind::write, offset, bytes.size(), {bytes.begin(), bytes.end()}}, length)) {
            moved += static_cast<int>(length);
            ring.post(completion, moved > 0 ? moved : -error);
            return;
        }
        offset += segment.iov_len;
        moved += static_cast<int>(segment.iov_len);
    }
    ring.post(completion, moved);
}

} // namespace croft::disk::test
