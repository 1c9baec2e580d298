// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/image.hpp"
#include "disk/vhd/structures.hpp"

#include <memory>

namespace croft::disk::vhd {

// A fixed VHD: the disk as it is, and a footer after it.
class FixedImage final : public Image {
public:
    FixedImage(std::unique_ptr<Store> store, const FoundFooter& found);

    Extent find(std::uint64_t offset, std::uint64_t length) override;
    Extent reserve(std::uint64_t offset, std::uint64_t length) override;
    void finish(const Extent&, Outcome) override {}
    Result<void> prepare(std::uint64_t, std::uint64_t, Access) override { return {}; }
    Result<void> flush() override;
    Result<void> discard(
        std::uint64_t offset, std::uint64_t length, std::vector<Store::Range>& skipped) override;
    Result<void> resize(std::uint64_t size) override;
    Result<void> close() override { return flush(); }

private:
    Result<void> place_footer(std::uint64_t offset, const Footer& footer);
    Result<void> cut_file();

    Footer footer_;
    std::uint64_t footer_place_; // at the end of the file
};

} // namespace croft::disk::vhd
