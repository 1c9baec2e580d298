// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/memory/guest_pages.hpp"
#include "vmbus/vsp/channel_service.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <sys/uio.h>
#include <vector>

namespace croft::vsp::network {

/// Memory that a guest has given for frames, in sections of a size. Any thread.
class SharedBuffer {
public:
    /// Null if the GPADL isn't one range, or has not one section. `memory` outlives it.
    [[nodiscard]] static std::shared_ptr<const SharedBuffer> map(
        const vmbus::Gpadl& gpadl, const vmbus::GuestPages& memory, std::uint32_t section_size);

    [[nodiscard]] std::uint32_t gpadl() const { return gpadl_; }
    [[nodiscard]] std::uint32_t section_size() const { return section_size_; }
    [[nodiscard]] std::uint32_t section_count() const { return section_count_; }

    // What lies within a section, of which there is one with that number.

    /// Adds a part of one to `segments`.
    void add(std::uint32_t section, std::size_t offset, std::size_t size,
        std::vector<iovec>& segments) const;
    void write(
        std::uint32_t section, std::size_t offset, std::span<const std::uint8_t> bytes) const;
    [[nodiscard]] std::uint8_t byte(std::uint32_t section, std::size_t offset) const;

private:
    SharedBuffer() = default;
    template <typename Function>
    void visit(std::uint32_t section, std::size_t offset, std::size_t size,
        const Function& function) const;

    std::uint32_t gpadl_ = 0;
    std::uint32_t section_size_ = 0;
    std::uint32_t section_count_ = 0;
    /// In the first page.
    std::uint32_t start_ = 0;
    std::vector<std::uint8_t*> pages_;
};

} // namespace croft::vsp::network
