// SPDX-License-Identifier: Apache-2.0
#include "hv/mshv/register_page.hpp"

#include "hv/register.hpp"

#include <algorithm>
#include <cstring>

namespace croft::hv::mshv {

namespace {

constexpr std::uint32_t class_bit(unsigned register_class) {
    return 1U << register_class;
}

constexpr bool is_general(std::uint32_t name) {
    return name >= HV_X64_REGISTER_RAX && name <= HV_X64_REGISTER_R15;
}

constexpr bool is_segment(std::uint32_t name) {
    return name >= HV_X64_REGISTER_ES && name <= HV_X64_REGISTER_GS;
}

constexpr bool is_changeable(std::uint32_t name) {
    return is_general(name) || is_segment(name) || name == HV_X64_REGISTER_RIP ||
        name == HV_X64_REGISTER_RFLAGS;
}

constexpr bool is_control(std::uint32_t name) {
    return name == HV_X64_REGISTER_CR0 || name == HV_X64_REGISTER_CR3 ||
        name == HV_X64_REGISTER_CR4 || name == HV_X64_REGISTER_EFER;
}

} // namespace

bool RegisterPage::holds(std::uint32_t name) {
    return is_changeable(name) || is_control(name);
}

void RegisterPage::begin() {
    usable_ =
        page_ != nullptr && page_->is_valid != 0 && page_->version == HV_VP_REGISTER_PAGE_VERSION_1;
}

bool RegisterPage::get(std::span<hv_register_assoc> registers) const {
    const auto is_here = [](const hv_register_assoc& entry) {
        return holds(entry.name);
    };
    if (!usable_ || !std::all_of(registers.begin(), registers.end(), is_here)) {
        return false;
    }
    for (hv_register_assoc& entry : registers) {
        const std::uint32_t name = entry.name;
        entry.value = {};
        if (is_general(name)) {
            entry.value.reg64 = page_->gp_registers[name - HV_X64_REGISTER_RAX];
        } else if (is_segment(name)) {
            entry.value.segment = page_->segment_registers[name - HV_X64_REGISTER_ES];
        } else if (name == HV_X64_REGISTER_RIP) {
            entry.value.reg64 = page_->rip;
        } else if (name == HV_X64_REGISTER_RFLAGS) {
            entry.value.reg64 = page_->rflags;
        } else if (name == HV_X64_REGISTER_CR0) {
            entry.value.reg64 = page_->cr0;
        } else if (name == HV_X64_REGISTER_CR3) {
            entry.value.reg64 = page_->cr3;
        } else if (name == HV_X64_REGISTER_CR4) {
            entry.value.reg64 = page_->cr4;
        } else {
            entry.value.reg64 = page_->efer;
        }
    }
    return true;
}

bool RegisterPage::set(std::span<const hv_register_assoc> registers) {
    const auto is_here = [](const hv_register_assoc& entry) {
        return is_changeable(entry.name);
    };
    if (!usable_ || !std::all_of(registers.begin(), registers.end(), is_here)) {
        return false;
    }
    std::uint32_t dirty = page_->dirty;
    for (const hv_register_assoc& entry : registers) {
        const std::uint32_t name = entry.name;
        if (is_general(name)) {
            page_->gp_registers[name - HV_X64_REGISTER_RAX] = entry.value.reg64;
            dirty |= class_bit(HV_X64_REGISTER_CLASS_GENERAL);
        } else if (is_segment(name)) {
            page_->segment_registers[name - HV_X64_REGISTER_ES] = entry.value.segment;
            dirty |= class_bit(HV_X64_REGISTER_CLASS_SEGMENT);
        } else if (name == HV_X64_REGISTER_RIP) {
            page_->rip = entry.value.reg64;
            dirty |= class_bit(HV_X64_REGISTER_CLASS_IP);
        } else {
            page_->rflags = entry.value.reg64;
            dirty |= class_bit(HV_X64_REGISTER_CLASS_FLAGS);
        }
    }
    page_->dirty = dirty;
    return true;
}

std::optional<CoreRegisters> RegisterPage::core() const {
    if (!usable_) {
        return std::nullopt;
    }
    CoreRegisters result;
    std::memcpy(result.general.data(), page_->gp_registers, sizeof page_->gp_registers);
    std::memcpy(result.segments.data(), page_->segment_registers, sizeof page_->segment_registers);
    result.rip = page_->rip;
    result.rflags = page_->rflags;
    return result;
}

bool RegisterPage::set_core(
    std::span<const std::uint64_t, 16> general, std::uint64_t rip, std::uint64_t rflags) {
    if (!usable_) {
        return false;
    }
    std::memcpy(page_->gp_registers, general.data(), sizeof page_->gp_registers);
    page_->rip = rip;
    page_->rflags = rflags;
    page_->dirty = page_->dirty | class_bit(HV_X64_REGISTER_CLASS_GENERAL) |
        class_bit(HV_X64_REGISTER_CLASS_IP) | class_bit(HV_X64_REGISTER_CLASS_FLAGS);
    return true;
}

bool RegisterPage::set_rip(std::uint64_t rip, std::optional<std::uint64_t> rax) {
    if (!usable_) {
        return false;
    }
    std::uint32_t dirty = page_->dirty | class_bit(HV_X64_REGISTER_CLASS_IP);
    page_->rip = rip;
    if (rax) {
        page_->gp_registers[0] = *rax;
        dirty |= class_bit(HV_X64_REGISTER_CLASS_GENERAL);
    }
    page_->dirty = dirty;
    return true;
}

std::size_t RegisterPage::take_changed(std::span<hv_register_assoc, most_changed> changed) {
    if (!usable_ || page_->dirty == 0) {
        return 0;
    }
    const std::uint32_t dirty = page_->dirty;
    page_->dirty = 0;
    std::size_t count = 0;
    if ((dirty & class_bit(HV_X64_REGISTER_CLASS_GENERAL)) != 0) {
        for (std::uint32_t index = 0; index < 16; ++index) {
            changed[count++] =
                register_value(HV_X64_REGISTER_RAX + index, page_->gp_registers[index]);
        }
    }
    if ((dirty & class_bit(HV_X64_REGISTER_CLASS_IP)) != 0) {
        changed[count++] = register_value(HV_X64_REGISTER_RIP, page_->rip);
    }
    if ((dirty & class_bit(HV_X64_REGISTER_CLASS_FLAGS)) != 0) {
        changed[count++] = register_value(HV_X64_REGISTER_RFLAGS, page_->rflags);
    }
    if ((dirty & class_bit(HV_X64_REGISTER_CLASS_SEGMENT)) != 0) {
        for (std::uint32_t index = 0; index < 6; ++index) {
            const hv_x64_segment_register segment = page_->segment_registers[index];
            changed[count++] = register_value(HV_X64_REGISTER_ES + index, segment);
        }
    }
    return count;
}

} // namespace croft::hv::mshv
