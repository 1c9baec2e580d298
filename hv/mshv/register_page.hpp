// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/abi.hpp"
#include "hv/virtual_processor.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace croft::hv::mshv {

/// The page in which the hypervisor shows a suspended VP's most used registers and from which it
/// loads the changed ones, so that answering an intercept costs no hypercall.
class RegisterPage {
public:
    /// Without a page everything answers false.
    RegisterPage() = default;
    explicit RegisterPage(hv_vp_register_page* page) : page_(page) {}

    /// The VP has been intercepted: what the page holds is current, if the hypervisor says so.
    void begin();
    /// What the page holds is no longer current.
    void end() { usable_ = false; }

    /// Fills in all registers. Answers false, and changes nothing, if one isn't on the page.
    [[nodiscard]] bool get(std::span<hv_register_assoc> registers) const;
    /// Changes all registers. Answers false, and changes nothing, if one can't be changed here.
    [[nodiscard]] bool set(std::span<const hv_register_assoc> registers);

    /// What VirtualProcessor's functions of such names do. Nothing, or false, if they can't be had
    /// here.
    [[nodiscard]] std::optional<CoreRegisters> core() const;
    [[nodiscard]] bool set_core(
        std::span<const std::uint64_t, 16> general, std::uint64_t rip, std::uint64_t rflags);
    [[nodiscard]] bool set_rip(std::uint64_t rip, std::optional<std::uint64_t> rax);

    /// The registers that were changed and not loaded yet, in `changed`; answers how many, at most
    /// `most_changed`. They count as loaded from then on.
    static constexpr std::size_t most_changed = 24;
    [[nodiscard]] std::size_t take_changed(std::span<hv_register_assoc, most_changed> changed);

    /// Whether a register has a place on the page, so that changing it elsewhere makes the page
    /// stale.
    [[nodiscard]] static bool holds(std::uint32_t name);

private:
    hv_vp_register_page* page_ = nullptr;
    bool usable_ = false;
};

} // namespace croft::hv::mshv
