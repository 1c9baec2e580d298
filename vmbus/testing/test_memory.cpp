// SPDX-License-Identifier: Apache-2.0
#include "vmbus/testing/test_memory.hpp"

#include "vmbus/protocol/gpa_range.hpp"

#include <algorithm>
#include <fcntl.h>
#include <random>
#include <stdexcept>
#include <sys/mman.h>
#include <utility>

namespace croft::vmbus::testing {

TestMemory::TestMemory(std::uint64_t pages)
    : file_(memfd_create("vmbus-test", MFD_CLOEXEC | MFD_ALLOW_SEALING)),
      ranges_{{first_page * protocol::page_size, pages * protocol::page_size, 0}} {
    if (!file_ || ftruncate(file_.get(), static_cast<off_t>(pages * protocol::page_size)) != 0 ||
        fcntl(file_.get(), F_ADD_SEALS, F_SEAL_SHRINK) != 0) {
        throw std::runtime_error("no memory for the test");
    }
    auto mapped = MappedMemory::map(file_.get(), ranges_);
    if (!mapped) {
        throw std::runtime_error(mapped.error());
    }
    mapped_ = std::move(*mapped);
    for (std::uint64_t i = 0; i < pages; ++i) {
        free_.push_back(first_page + i);
    }
    std::mt19937 random(1);
    std::shuffle(free_.begin(), free_.end(), random);
}

MemoryFile TestMemory::file() const {
    return {file_.get(), ranges_};
}

std::vector<std::uint64_t> TestMemory::allocate(std::uint64_t count) {
    if (count > free_.size()) {
        throw std::runtime_error("the test's memory is too small");
    }
    std::vector<std::uint64_t> pages(free_.end() - static_cast<std::ptrdiff_t>(count), free_.end());
    free_.resize(free_.size() - count);
    return pages;
}

} // namespace croft::vmbus::testing
