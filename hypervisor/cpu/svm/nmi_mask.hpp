// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/cpu/svm/vmcb.hpp"

#include <cstdint>
#include <optional>

namespace hypervisor::svm {

/// Whether a guest can take an NMI: not from the delivery of one to the end of the IRET that its
/// handler returns by (APM vol. 2, 15.21.9). The intercept of IRET comes before the instruction. An
/// NMI there would find the handler's stack in use, and overwrite what IRET is about to read; so
/// the guest takes that one step by itself, and #DB tells that it is done. An IRET to another task
/// would save the flag by which it steps with the task that it leaves: for that one the next exit
/// has to do, whatever it is for.
class NmiMask final {
public:
    explicit NmiMask(Vmcb& vmcb) : vmcb_{vmcb} {}

    [[nodiscard]] bool masked() const { return masked_; }
    void set(bool masked);
    /// The next entry is for that one step: nobody may intercept the IRET now.
    [[nodiscard]] bool steps() const { return step_.has_value(); }

    /// Just before VMRUN, and just after #VMEXIT.
    void prepare();
    /// \return whether the exit is this class's own: nothing is left of it to handle.
    [[nodiscard]] bool settle();

private:
    /// The IRET that is about to be executed, and what the guest will want back.
    struct Step {
        std::uint64_t rip;
        std::uint64_t rsp;
        std::uint64_t dr6;
        std::uint64_t task;
        bool guest_steps;
        bool to_another_task;
    };

    [[nodiscard]] bool returns_to_task() const;
    [[nodiscard]] bool finish_step();

    Vmcb& vmcb_;
    bool masked_ = false;
    std::optional<Step> step_;
};

} // namespace hypervisor::svm
