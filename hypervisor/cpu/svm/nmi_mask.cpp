// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/cpu/svm/nmi_mask.hpp"

#include "hypervisor/cpu/fixed_registers.hpp"

namespace hypervisor::svm {

namespace {

constexpr std::uint64_t exit_debug = exit_exception_first + exception_debug;

} // namespace

void NmiMask::set(bool masked) {
    masked_ = masked;
    step_.reset();
}

void NmiMask::prepare() {
    if (masked_ && !step_) {
        vmcb_.intercept_misc1 |= intercept_iret;
    } else {
        vmcb_.intercept_misc1 &= ~intercept_iret;
    }
    if (step_ && !step_->to_another_task) {
        vmcb_.rflags |= rflags_tf;
    }
}

/// Long mode has no tasks to return to, and there the flag is none.
bool NmiMask::returns_to_task() const {
    return (vmcb_.rflags & rflags_nt) != 0 && (vmcb_.efer & efer_lma) == 0;
}

bool NmiMask::settle() {
    if (step_) {
        return finish_step();
    }
    if (!masked_ || vmcb_.exit_code != exit_iret) {
        return false;
    }
    step_ = Step{.rip = vmcb_.rip,
        .rsp = vmcb_.rsp,
        .dr6 = vmcb_.dr6,
        .task = vmcb_.tr.base,
        .guest_steps = (vmcb_.rflags & rflags_tf) != 0,
        .to_another_task = returns_to_task()};
    return true;
}

bool NmiMask::finish_step() {
    const Step step = *step_;
    const bool stepped = !step.to_another_task && vmcb_.exit_code == exit_debug &&
        (vmcb_.dr6 & dr6_single_step) != 0;
    if (!stepped && vmcb_.rip == step.rip && vmcb_.rsp == step.rsp && vmcb_.tr.base == step.task) {
        // Something else has come first. Who looks at the guest now must not see the flag.
        if (!step.guest_steps) {
            vmcb_.rflags &= ~rflags_tf;
        }
        return false;
    }
    masked_ = false;
    step_.reset();
    if (!stepped || step.guest_steps) {
        return false;
    }
    vmcb_.dr6 = (vmcb_.dr6 & ~dr6_single_step) | (step.dr6 & dr6_single_step);
    // The guest's own breakpoints may have hit at the same step.
    return vmcb_.dr6 == step.dr6;
}

} // namespace hypervisor::svm
