// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/emulate/guest_page_walk.hpp"

#include <algorithm>

namespace hypervisor {

namespace {

using Kind = PageFault::Kind;

constexpr std::uint64_t bit(unsigned number) {
    return std::uint64_t{1} << number;
}

/// Bits `low` to `high`, both included.
constexpr std::uint64_t bits(unsigned high, unsigned low) {
    return high < low ? 0 : (~std::uint64_t{0} >> (63 - high)) & ~(bit(low) - 1);
}

constexpr std::uint64_t cr0_write_protect = bit(16);
constexpr std::uint64_t cr0_paging = bit(31);
constexpr std::uint64_t cr4_page_size_extensions = bit(4);
constexpr std::uint64_t cr4_pae = bit(5);
constexpr std::uint64_t cr4_five_levels = bit(12);
constexpr std::uint64_t cr4_smep = bit(20);
constexpr std::uint64_t cr4_smap = bit(21);
constexpr std::uint64_t efer_long_mode_active = bit(10);
constexpr std::uint64_t efer_no_execute = bit(11);
constexpr std::uint64_t rflags_alignment_check = bit(18);

constexpr std::uint64_t entry_present = bit(0);
constexpr std::uint64_t entry_writable = bit(1);
constexpr std::uint64_t entry_user = bit(2);
constexpr std::uint64_t entry_write_through = bit(3);
constexpr std::uint64_t entry_cache_disable = bit(4);
constexpr std::uint64_t entry_accessed = bit(5);
constexpr std::uint64_t entry_dirty = bit(6);
constexpr std::uint64_t entry_large = bit(7);
constexpr std::uint64_t entry_pat = bit(7);
constexpr std::uint64_t entry_large_pat = bit(12);
constexpr std::uint64_t entry_no_execute = bit(63);

constexpr std::uint32_t error_present = 1U << 0;
constexpr std::uint32_t error_write = 1U << 1;
constexpr std::uint32_t error_user = 1U << 2;
constexpr std::uint32_t error_reserved = 1U << 3;
constexpr std::uint32_t error_fetch = 1U << 4;

constexpr std::uint64_t four_gibibytes_mask = 0xFFFFFFFF;

bool is_canonical(std::uint64_t address, unsigned address_bits) {
    const std::uint64_t upper = address >> (address_bits - 1);
    return upper == 0 || upper == ~std::uint64_t{0} >> (address_bits - 1);
}

} // namespace

GuestPageWalk::GuestPageWalk(const PagingState& state, std::uint64_t address, PageAccess access)
    : address_(address),
      cr0_(state.cr0),
      cr4_(state.cr4),
      efer_(state.efer),
      access_(access),
      user_access_(state.cpl == 3 && !access.implicit_supervisor),
      smap_lifted_((state.rflags & rflags_alignment_check) != 0 && !access.implicit_supervisor),
      physical_bits_(std::clamp<std::uint8_t>(state.physical_bits, 32, 52)),
      gigabyte_pages_(state.gigabyte_pages),
      translation_{.writable = true, .user = true, .executable = true} {
    start(state);
}

void GuestPageWalk::start(const PagingState& state) {
    if ((cr0_ & cr0_paging) == 0) {
        translation_.gpa = address_ & four_gibibytes_mask;
        translation_.page_size = 0x1000;
        result_ = translation_;
        return;
    }
    if ((efer_ & efer_long_mode_active) != 0) {
        mode_ = Mode::long_mode;
        const bool five = (cr4_ & cr4_five_levels) != 0;
        if (!is_canonical(address_, five ? 57 : 48)) {
            result_ = std::unexpected(PageFault{Kind::non_canonical, 0});
            return;
        }
        level_ = five ? 5 : 4;
        table_ = state.cr3 & address_mask();
        return;
    }
    address_ &= four_gibibytes_mask;
    if ((cr4_ & cr4_pae) == 0) {
        mode_ = Mode::two_level;
        level_ = 2;
        table_ = state.cr3 & bits(31, 12);
        return;
    }
    mode_ = Mode::pae;
    level_ = 3;
    table_ = state.cr3 & bits(31, 5);
    if (state.pdptes) {
        feed((*state.pdptes)[address_ >> 30]);
    }
}

std::optional<std::uint64_t> GuestPageWalk::wanted() const {
    return level_ == 0 ? std::nullopt : std::optional{entry_address()};
}

std::uint64_t GuestPageWalk::entry_address() const {
    const std::uint64_t index_mask = mode_ == Mode::two_level ? 0x3FF : 0x1FF;
    return table_ + ((address_ >> level_shift()) & index_mask) * entry_size();
}

void GuestPageWalk::feed(std::uint64_t entry) {
    if ((entry & entry_present) == 0) {
        fail(Kind::not_present);
        return;
    }
    if ((entry & reserved_bits(entry)) != 0) {
        fail(Kind::reserved_bit);
        return;
    }
    if (mode_ == Mode::pae && level_ == 3) {
        // It has no permissions and no accessed bit.
        table_ = entry & address_mask();
        level_ = 2;
        return;
    }
    translation_.writable &= (entry & entry_writable) != 0;
    translation_.user &= (entry & entry_user) != 0;
    translation_.executable &= !no_execute_enabled() || (entry & entry_no_execute) == 0;
    entries_[entry_count_++] = {
        .gpa = entry_address(), .value = entry, .marked = entry | entry_accessed};
    if (is_leaf(entry)) {
        finish(entry);
        return;
    }
    table_ = entry & address_mask();
    --level_;
}

void GuestPageWalk::finish(std::uint64_t entry) {
    if (!access_.ignore_permissions && !permitted()) {
        fail(Kind::protection);
        return;
    }
    if (access_.kind == PageAccess::Kind::write) {
        entries_[entry_count_ - 1].marked |= entry_dirty;
    }
    const std::uint64_t size = bit(level_shift());
    translation_.gpa = leaf_address(entry) | (address_ & (size - 1));
    translation_.page_size = size;
    translation_.write_through = (entry & entry_write_through) != 0;
    translation_.cache_disable = (entry & entry_cache_disable) != 0;
    translation_.pat = (entry & (level_ == 1 ? entry_pat : entry_large_pat)) != 0;
    result_ = translation_;
    level_ = 0;
}

/// The error code as APM vol. 2, 8.4.2 has it.
void GuestPageWalk::fail(Kind kind) {
    std::uint32_t code = kind == Kind::not_present ? 0 : error_present;
    code |= kind == Kind::reserved_bit ? error_reserved : 0;
    code |= access_.kind == PageAccess::Kind::write ? error_write : 0;
    code |= user_access_ ? error_user : 0;
    const bool fetches_are_told = no_execute_enabled() || (cr4_ & cr4_smep) != 0;
    code |= access_.kind == PageAccess::Kind::execute && fetches_are_told ? error_fetch : 0;
    result_ = std::unexpected(PageFault{kind, code});
    level_ = 0;
}

unsigned GuestPageWalk::level_shift() const {
    return 12 + (level_ - 1) * (mode_ == Mode::two_level ? 10 : 9);
}

bool GuestPageWalk::is_leaf(std::uint64_t entry) const {
    if (level_ == 1) {
        return true;
    }
    if ((entry & entry_large) == 0 || level_ > 3) {
        return false;
    }
    return mode_ != Mode::two_level || (cr4_ & cr4_page_size_extensions) != 0;
}

/// The bits that must be zero in an entry of this level (APM vol. 2, 5.2 to 5.4; SDM vol. 3, tables
/// 4-4 to 4-20).
std::uint64_t GuestPageWalk::reserved_bits(std::uint64_t entry) const {
    if (mode_ == Mode::two_level) {
        if (level_ == 1 || !is_leaf(entry)) {
            return 0;
        }
        // Bits 20 to 13 are the address's 39 to 32.
        const unsigned first_beyond = physical_bits_ >= 40 ? 21 : physical_bits_ - 32 + 13;
        return bits(21, first_beyond);
    }
    const std::uint64_t beyond = bits(51, physical_bits_);
    if (mode_ == Mode::pae && level_ == 3) {
        // Bit 5 is reserved, too. But there are processors that set it, as in entries of other
        // levels (QEMU 7.2), and then take no fault from it: nor must whoever reads code for them.
        return beyond | bits(63, 52) | bits(2, 1) | bits(8, 6);
    }
    std::uint64_t reserved = beyond;
    reserved |= mode_ == Mode::pae ? bits(62, 52) : 0;
    reserved |= no_execute_enabled() ? 0 : entry_no_execute;
    const bool may_be_large = level_ <= 2 || (level_ == 3 && gigabyte_pages_);
    if (!may_be_large) {
        return reserved | entry_large;
    }
    if (level_ > 1 && is_leaf(entry)) {
        reserved |= bits(level_shift() - 1, 13);
    }
    return reserved;
}

std::uint64_t GuestPageWalk::address_mask() const {
    return bits(mode_ == Mode::two_level ? 31 : physical_bits_ - 1U, 12);
}

std::uint64_t GuestPageWalk::leaf_address(std::uint64_t entry) const {
    const std::uint64_t inside = bit(level_shift()) - 1;
    std::uint64_t address = entry & address_mask() & ~inside;
    if (mode_ == Mode::two_level && level_ == 2) {
        address |= (entry & bits(20, 13)) << (32 - 13);
    }
    return address;
}

/// APM vol. 2, 5.6; SDM vol. 3, 4.6.1.
bool GuestPageWalk::permitted() const {
    const bool user_page = translation_.user;
    if (user_access_ && !user_page) {
        return false;
    }
    if (access_.kind == PageAccess::Kind::execute) {
        const bool smep = !user_access_ && user_page && (cr4_ & cr4_smep) != 0;
        return translation_.executable && !smep;
    }
    if (!user_access_ && user_page && (cr4_ & cr4_smap) != 0 && !smap_lifted_) {
        return false;
    }
    if (access_.kind == PageAccess::Kind::read || translation_.writable) {
        return true;
    }
    return !user_access_ && (cr0_ & cr0_write_protect) == 0;
}

bool GuestPageWalk::no_execute_enabled() const {
    return mode_ != Mode::two_level && (efer_ & efer_no_execute) != 0;
}

} // namespace hypervisor
