// SPDX-License-Identifier: Apache-2.0
#include "disk/tool/window.hpp"

#include <sys/mman.h>
#include <unistd.h>

namespace croft::disk::tool {

// All of it is brought into memory here, where an error can be told; touching what can't be read
// would be the end of the process.
Window::Window(const Store& store, std::uint64_t offset, std::size_t length) {
    if (store.descriptor() < 0 || length == 0 || offset + length > store.size())
        return;
    const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
    const auto within = static_cast<std::size_t>(offset % page);
    void* mapping = mmap(nullptr, within + length, PROT_READ, MAP_SHARED, store.descriptor(),
        static_cast<off_t>(offset - within));
    if (mapping == MAP_FAILED)
        return;
    mapping_ = mapping;
    mapped_ = within + length;
    if (madvise(mapping, mapped_, MADV_POPULATE_READ) == 0)
        bytes_ = {static_cast<const std::byte*>(mapping) + within, length};
}

Window::~Window() {
    if (mapping_ != nullptr)
        munmap(mapping_, mapped_);
}

} // namespace croft::disk::tool
