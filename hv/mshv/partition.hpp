// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/mshv/file.hpp"
#include "hv/partition.hpp"

namespace croft::hv::mshv {

class MshvPartition final : public Partition {
public:
    /// `file` is what MSHV_CREATE_PARTITION answered.
    explicit MshvPartition(File file);

    [[nodiscard]] std::uint64_t property(hv_partition_property_code code) const override;
    void set_property(hv_partition_property_code code, std::uint64_t value) override;
    void initialize() override;
    void map_memory(const MemoryMapping& mapping) override;
    void unmap_memory(const MemoryMapping& mapping) override;
    [[nodiscard]] std::vector<std::uint64_t> page_access(PageAccess access, PageAccessUpdate update,
        std::uint64_t first_page, std::uint64_t page_count) override;
    [[nodiscard]] std::unique_ptr<VirtualProcessor> create_vp(std::uint32_t index) override;
    void assert_interrupt(const InterruptRequest& request) override;
    void connect_interrupt(int event, std::uint32_t number, std::optional<int> ended) override;
    void disconnect_interrupt(int event, std::uint32_t number) override;
    void route_interrupts(std::span<const MsiRoute> routes) override;
    void connect_doorbell(const Doorbell& doorbell) override;
    void disconnect_doorbell(const Doorbell& doorbell) override;
    void install_intercept(
        hv_intercept_type type, std::uint32_t access, std::uint64_t parameter) override;
    void register_msr(
        std::uint32_t msr, std::uint32_t access, hv_unimplemented_msr_action action) override;
    void register_cpuid(const CpuidAnswer& answer) override;
    bool signal_event(std::uint32_t vp, std::uint8_t sint, std::uint16_t flag) override;
    bool post_message(std::uint32_t vp, std::uint8_t sint, const hv_message& message) override;
    void notify_deliverable(std::uint32_t vp, std::uint16_t sints) override;

private:
    void read_page_access(PageAccess access, std::uint64_t first_page,
        std::span<std::uint64_t> bitmap, std::uint64_t page_count) const;
    void change_doorbell(std::string_view what, const Doorbell& doorbell, std::uint32_t flags);

    File file_;
};

} // namespace croft::hv::mshv
