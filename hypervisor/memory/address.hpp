// SPDX-License-Identifier: Apache-2.0
// Addresses by what they are addresses in: a GPA cannot be taken for an SPA.
#pragma once

#include <compare>
#include <cstdint>

namespace hypervisor {

inline constexpr std::uint64_t page_shift = 12;
inline constexpr std::uint64_t page_size = 1ull << page_shift;
inline constexpr std::uint64_t large_page_shift = 21;
inline constexpr std::uint64_t large_page_size = 1ull << large_page_shift;
inline constexpr std::uint64_t huge_page_shift = 30;
inline constexpr std::uint64_t huge_page_size = 1ull << huge_page_shift;
inline constexpr std::uint64_t pages_per_huge_page = huge_page_size >> page_shift;
inline constexpr std::uint64_t pages_per_large_page = large_page_size / page_size;

template <class Tag>
class PageNumber final {
public:
    constexpr PageNumber() = default;
    explicit constexpr PageNumber(std::uint64_t number) : number_{number} {}
    static constexpr PageNumber containing(std::uint64_t address) {
        return PageNumber{address >> page_shift};
    }
    [[nodiscard]] constexpr std::uint64_t number() const { return number_; }
    [[nodiscard]] constexpr std::uint64_t address() const { return number_ << page_shift; }
    [[nodiscard]] constexpr PageNumber operator+(std::uint64_t pages) const {
        return PageNumber{number_ + pages};
    }
    constexpr auto operator<=>(const PageNumber&) const = default;

private:
    std::uint64_t number_ = 0;
};

/// Number of a system physical page.
using SpaPage = PageNumber<struct SpaTag>;
/// Number of a guest physical page.
using GpaPage = PageNumber<struct GpaTag>;

/// All memory is mapped where it is, so a system physical page can be pointed to.
template <class T>
T* pointer_to(SpaPage page) {
    return reinterpret_cast<T*>(page.address());
}
template <class T>
SpaPage spa_page_of(const T* object) {
    return SpaPage::containing(reinterpret_cast<std::uint64_t>(object));
}

} // namespace hypervisor
