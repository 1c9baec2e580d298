// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/mshv/file.hpp"
#include "hv/mshv/register_page.hpp"
#include "hv/virtual_processor.hpp"

namespace croft::hv::mshv {

class MshvVirtualProcessor final : public VirtualProcessor {
public:
    /// `file` is what MSHV_CREATE_VP answered for the VP `index`.
    MshvVirtualProcessor(File file, std::uint32_t index);
    ~MshvVirtualProcessor() override;

    [[nodiscard]] std::uint32_t index() const override { return index_; }
    RunResult run() override;
    [[nodiscard]] const hv_message& message() const override { return message_; }
    void get_registers(std::span<hv_register_assoc> registers) override;
    void set_registers(std::span<const hv_register_assoc> registers) override;
    [[nodiscard]] CoreRegisters core_registers() override;
    void set_core_registers(std::span<const std::uint64_t, 16> general, std::uint64_t rip,
        std::uint64_t rflags) override;
    void set_rip(std::uint64_t rip, std::optional<std::uint64_t> rax) override;
    [[nodiscard]] std::vector<std::uint8_t> get_state(VpState which) override;
    void set_state(VpState which, std::span<const std::uint8_t> state) override;
    [[nodiscard]] Translation translate(std::uint64_t gva, std::uint64_t flags) override;
    [[nodiscard]] std::vector<std::uint32_t> cpuid(
        std::uint32_t leaf, std::uint32_t subleaf) override;

private:
    void load_changed_registers();
    void call_set_registers(std::span<const hv_register_assoc> registers);

    File file_;
    const std::uint32_t index_;
    void* mapped_page_ = nullptr;
    RegisterPage page_;
    hv_message message_{};
};

} // namespace croft::hv::mshv
