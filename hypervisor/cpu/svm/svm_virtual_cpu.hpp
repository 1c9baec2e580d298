// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hypervisor/cpu/svm/asid.hpp"
#include "hypervisor/cpu/svm/nmi_mask.hpp"
#include "hypervisor/cpu/svm/vmcb.hpp"
#include "hypervisor/cpu/virtual_cpu.hpp"

#include <optional>

namespace hypervisor::svm {

/// A virtual processor on AMD-V with nested paging.
class SvmVirtualCpu final : public CommonCpu<SvmVirtualCpu> {
public:
    /// \param vmcb, extended_state pages filled with zeros. \param is_root passes I/O ports
    /// through.
    SvmVirtualCpu(SpaPage vmcb, SpaPage extended_state, bool is_root);

    void reset() override;
    void load() override;
    void save() override;
    Exit run() override;
    void flush_tlb() override { flush_ = true; }

    [[nodiscard]] std::uint64_t get(CpuRegister r) const override;
    void set(CpuRegister r, std::uint64_t value) override;
    [[nodiscard]] hv_x64_segment_register segment(SegmentName name) const override;
    void tell(hv_x64_intercept_message_header& header) const override;
    void tell(hv_vp_register_page& page) const override;
    void set_segment(SegmentName name, const hv_x64_segment_register& value) override;
    [[nodiscard]] hv_x64_table_register table(TableName name) const override;
    void set_table(TableName name, const hv_x64_table_register& value) override;
    [[nodiscard]] unsigned cpl() const override { return vmcb_.cpl; }
    [[nodiscard]] InstructionMode mode() const override;

    [[nodiscard]] std::optional<CpuEvent> pending_event() const override;
    [[nodiscard]] bool has_pending_event() const override;
    void set_pending_event(const std::optional<CpuEvent>& event) override;
    [[nodiscard]] bool interrupt_shadow() const override {
        return (vmcb_.interrupt_shadow & 1) != 0;
    }
    void set_interrupt_shadow(bool on) override { vmcb_.interrupt_shadow = on ? 1 : 0; }
    [[nodiscard]] bool nmi_masked() const override { return nmi_mask_.masked(); }
    void set_nmi_masked(bool masked) override { nmi_mask_.set(masked); }
    void set_interrupt_window(bool on) override;
    [[nodiscard]] std::uint8_t cr8() const override {
        return static_cast<std::uint8_t>(vmcb_.virtual_interrupt & virtual_tpr_mask);
    }
    void set_cr8(std::uint8_t value) override {
        vmcb_.virtual_interrupt = (vmcb_.virtual_interrupt & ~virtual_tpr_mask) | value;
    }
    void set_intercepts(const CpuIntercepts& which) override;
    [[nodiscard]] std::uint64_t read_own_msr(std::uint32_t msr) const override;
    [[nodiscard]] bool write_own_msr(std::uint32_t msr, std::uint64_t value) override;
    void set_address_space(SpaPage root) override { vmcb_.nested_cr3 = root.address(); }
    void set_tsc_offset(std::uint64_t offset) override { vmcb_.tsc_offset = offset; }
    [[nodiscard]] std::uint8_t* extended_state() override { return extended_state_; }

    [[nodiscard]] SpaPage vmcb_page() const { return spa_page_of(&vmcb_); }
    [[nodiscard]] SpaPage extended_state_page() const { return spa_page_of(extended_state_); }

private:
    static constexpr unsigned debug_address_count = 4;

    VmcbSegment& segment_of(SegmentName name);
    [[nodiscard]] const VmcbSegment& segment_of(SegmentName name) const;
    void prepare_asid();
    void offer_interrupt();
    void settle_offer();
    /// Lets the handler of an event return to behind its instruction. \return what was injected.
    std::uint64_t place_event();
    void take_back_interrupted_event(std::uint64_t injected, std::uint64_t rip);
    [[nodiscard]] bool delivers_event() const;
    Exit decode();
    void decode_io(Exit& exit) const;

    Vmcb& vmcb_;
    std::uint8_t* extended_state_;
    AsidTicket asid_{};
    bool flush_ = true;
    NmiMask nmi_mask_;
    /// An external interrupt that waits until the guest takes it.
    std::optional<std::uint8_t> offered_;
    bool wants_window_ = false;
    /// What the VMCB's event does not say of one that an instruction raises.
    CpuEvent::Type raised_by_ = CpuEvent::Type::exception;
    std::uint8_t raised_length_ = 0;
    std::uint64_t debug_addresses_[debug_address_count] = {};
    std::uint64_t tsc_aux_ = 0;
    std::uint64_t xss_ = 0;
    std::uint64_t xcr0_ = 1;
};

} // namespace hypervisor::svm
