// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vsp/storage/scsi/logical_unit.hpp"

#include <atomic>
#include <cstdint>

namespace croft::vsp::storage::scsi {

/// A disk: a block device that is always there (SBC-3).
class DiskUnit final : public LogicalUnit {
public:
    DiskUnit(const Identity& identity, const disk::Geometry& geometry);

    [[nodiscard]] std::size_t parameter_length(const Cdb& cdb) const override;
    [[nodiscard]] std::uint32_t block_size() const override {
        return geometry_.logical_sector_size;
    }
    [[nodiscard]] bool has_medium() const override { return true; }
    /// Only the size may be another.
    void medium_changed(const std::optional<disk::Geometry>& geometry) override;

private:
    [[nodiscard]] Answer inquire(const Cdb& cdb) const override;
    [[nodiscard]] Outcome transfer(const Transfer& transfer) override;
    [[nodiscard]] Outcome command(
        const Cdb& cdb, std::span<const std::uint8_t> parameters) override;

    [[nodiscard]] disk::Geometry geometry() const;
    [[nodiscard]] std::uint64_t block_count() const;
    [[nodiscard]] bool contains(const Blocks& blocks) const;
    [[nodiscard]] Answer vital_product_data(VpdPage page, std::uint64_t allocation_length) const;
    [[nodiscard]] Answer mode_sense(const Cdb& cdb) const;
    [[nodiscard]] Outcome synchronize_cache(const Cdb& cdb) const;
    [[nodiscard]] Outcome verify(const Cdb& cdb, std::span<const std::uint8_t> parameters) const;
    [[nodiscard]] Outcome unmap(const Cdb& cdb, std::span<const std::uint8_t> parameters) const;
    [[nodiscard]] Outcome write_same(
        const Cdb& cdb, std::span<const std::uint8_t> parameters) const;

    const Identity identity_;
    /// All but its size, which changes.
    const disk::Geometry geometry_;
    std::atomic<std::uint64_t> size_;
};

} // namespace croft::vsp::storage::scsi
