// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace croft::vmbus {

/// Where the pages of a guest are in this process. What is in them may change at any moment.
class GuestPages {
public:
    GuestPages() = default;
    GuestPages(const GuestPages&) = delete;
    GuestPages& operator=(const GuestPages&) = delete;
    virtual ~GuestPages() = default;

    /// The 4 KiB page with the number `page`, readable and writable for as long as this object
    /// lives; null if the guest has no memory there. Any thread.
    [[nodiscard]] virtual std::uint8_t* page(std::uint64_t page) const = 0;
};

} // namespace croft::vmbus
