// SPDX-License-Identifier: Apache-2.0
#include "worker/processor/guest_access.hpp"

#include "hv/register.hpp"
#include "worker/error.hpp"

#include <algorithm>
#include <bit>
#include <fmt/format.h>

namespace croft::worker {

namespace {

constexpr std::uint8_t page_fault = 14;

// The error code of a page fault (AMD APM volume 2, 8.4.2).
constexpr std::uint32_t error_present = 1U << 0;
constexpr std::uint32_t error_write = 1U << 1;
constexpr std::uint32_t error_user = 1U << 2;
constexpr std::uint32_t error_reserved_bit = 1U << 3;

constexpr std::uint64_t page_mask = HV_PAGE_SIZE - 1;

/// The widest access that a device may get for what is left of a piece.
std::size_t device_width(std::uint64_t gpa, std::size_t left) {
    for (const std::size_t width : {std::size_t{8}, std::size_t{4}, std::size_t{2}}) {
        if (left >= width && (gpa % width == 0 || left == width)) {
            return width;
        }
    }
    return 1;
}

/// Whether a translation ended at a guest physical address, be there memory or not.
bool has_address(hv_translate_gva_result_code result) {
    return result == HV_TRANSLATE_GVA_SUCCESS || result == HV_TRANSLATE_GVA_GPA_UNMAPPED ||
        result == HV_TRANSLATE_GVA_GPA_NO_READ_ACCESS ||
        result == HV_TRANSLATE_GVA_GPA_NO_WRITE_ACCESS;
}

} // namespace

GuestAccess::GuestAccess(hv::VirtualProcessor& processor, GuestMemory& memory, vdev::Bus& bus,
    bool is_user_mode, std::optional<TrappedAddress> trapped)
    : processor_(processor),
      memory_(memory),
      bus_(bus),
      is_user_mode_(is_user_mode),
      trapped_(trapped) {}

std::optional<std::uint64_t> GuestAccess::known_gpa(
    const LinearAccess& access, std::uint64_t address) const {
    if (!trapped_ || !trapped_->gva || (access.write && !trapped_->writable) ||
        (*trapped_->gva & ~page_mask) != (address & ~page_mask)) {
        return std::nullopt;
    }
    return (trapped_->gpa & ~page_mask) | (address & page_mask);
}

EmulatorEnvironment::Fault GuestAccess::translate(
    const LinearAccess& access, std::size_t size, Pieces& pieces) {
    for (std::size_t offset = 0; offset < size;) {
        const std::uint64_t address = access.address + offset;
        const std::size_t part =
            std::min<std::size_t>(size - offset, HV_PAGE_SIZE - (address & page_mask));
        std::optional<std::uint64_t> gpa = known_gpa(access, address);
        if (!gpa) {
            const std::uint64_t flags = HV_TRANSLATE_GVA_SET_PAGE_TABLE_BITS |
                HV_TRANSLATE_GVA_VALIDATE_READ |
                (access.write ? HV_TRANSLATE_GVA_VALIDATE_WRITE : 0);
            const hv::Translation translation = processor_.translate(address, flags);
            if (!has_address(translation.result)) {
                const std::uint32_t code =
                    (translation.result != HV_TRANSLATE_GVA_PAGE_NOT_PRESENT ? error_present : 0) |
                    (translation.result == HV_TRANSLATE_GVA_INVALID_PAGE_TABLE_FLAGS
                            ? error_reserved_bit
                            : 0) |
                    (access.write ? error_write : 0) | (is_user_mode_ ? error_user : 0);
                return GuestException{page_fault, code, address};
            }
            gpa = translation.gpa;
        }
        pieces.push_back({*gpa, offset, part});
        offset += part;
    }
    expect_trap(pieces);
    return std::nullopt;
}

/// Another instruction may lead to what is no device of the worker's.
void GuestAccess::expect_trap(const Pieces& pieces) {
    if (!trapped_ || has_met_trap_) {
        return;
    }
    bool is_memory = true;
    for (const Piece& piece : pieces) {
        is_memory = is_memory && memory_.contains(piece.gpa, piece.size);
        has_met_trap_ = has_met_trap_ || (piece.gpa & ~page_mask) == (trapped_->gpa & ~page_mask);
    }
    if (!is_memory && !has_met_trap_) {
        throw OtherInstruction();
    }
}

EmulatorEnvironment::Fault GuestAccess::read_memory(
    const LinearAccess& access, std::span<std::uint8_t> bytes) {
    Pieces pieces;
    if (Fault fault = translate(access, bytes.size(), pieces)) {
        return fault;
    }
    for (const Piece& piece : pieces) {
        read_physical(piece.gpa, bytes.subspan(piece.offset, piece.size));
    }
    return std::nullopt;
}

EmulatorEnvironment::Fault GuestAccess::write_memory(
    const LinearAccess& access, std::span<const std::uint8_t> bytes) {
    Pieces pieces;
    if (Fault fault = translate(access, bytes.size(), pieces)) {
        return fault;
    }
    for (const Piece& piece : pieces) {
        write_physical(piece.gpa, bytes.subspan(piece.offset, piece.size));
    }
    return std::nullopt;
}

void GuestAccess::read_physical(std::uint64_t gpa, std::span<std::uint8_t> bytes) {
    if (memory_.read(gpa, bytes)) {
        return;
    }
    while (!bytes.empty()) {
        const std::size_t width = device_width(gpa, bytes.size());
        const auto value = std::bit_cast<std::array<std::uint8_t, 8>>(
            bus_.mmio_read(gpa, static_cast<unsigned>(width)));
        std::copy_n(value.begin(), width, bytes.begin());
        gpa += width;
        bytes = bytes.subspan(width);
    }
}

void GuestAccess::write_physical(std::uint64_t gpa, std::span<const std::uint8_t> bytes) {
    if (memory_.write(gpa, bytes)) {
        return;
    }
    while (!bytes.empty()) {
        const std::size_t width = device_width(gpa, bytes.size());
        std::array<std::uint8_t, 8> value{};
        std::copy_n(bytes.begin(), width, value.begin());
        bus_.mmio_write(gpa, static_cast<unsigned>(width), std::bit_cast<std::uint64_t>(value));
        gpa += width;
        bytes = bytes.subspan(width);
    }
}

std::size_t GuestAccess::fetch(std::uint64_t address, std::span<std::uint8_t> bytes) {
    std::size_t done = 0;
    while (done < bytes.size()) {
        const std::uint64_t at = address + done;
        const std::size_t part =
            std::min<std::size_t>(bytes.size() - done, HV_PAGE_SIZE - (at & page_mask));
        const hv::Translation translation =
            processor_.translate(at, HV_TRANSLATE_GVA_VALIDATE_EXECUTE);
        if (translation.result != HV_TRANSLATE_GVA_SUCCESS ||
            !memory_.read(translation.gpa, bytes.subspan(done, part))) {
            break;
        }
        done += part;
    }
    return done;
}

std::uint32_t GuestAccess::read_port(std::uint16_t port, unsigned size) {
    return bus_.port_read(port, size);
}

void GuestAccess::write_port(std::uint16_t port, unsigned size, std::uint32_t value) {
    bus_.port_write(port, size, value);
}

std::array<std::uint8_t, 16> GuestAccess::read_xmm(unsigned index) {
    std::array registers = {hv::register_name(HV_X64_REGISTER_XMM0 + index)};
    processor_.get_registers(registers);
    return std::bit_cast<std::array<std::uint8_t, 16>>(hv_u128{registers[0].value.reg128});
}

void GuestAccess::write_xmm(unsigned index, const std::array<std::uint8_t, 16>& value) {
    std::array registers = {hv::register_name(HV_X64_REGISTER_XMM0 + index)};
    registers[0].value.reg128 = std::bit_cast<hv_u128>(value);
    processor_.set_registers(registers);
}

} // namespace croft::worker
