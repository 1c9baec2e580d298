// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/image.hpp"

#include <memory>

namespace croft::disk {

// A disk as it is: byte n of the store is byte n of the disk. Raw files, block devices and,
// read-only with sectors of 2048 bytes, ISO images.
//
// What somebody else has cut off a file while it is open is lost, and that is told: it can neither
// be read nor written. A write would bring back what lies before it as well, as zeros; one that is
// under way at that moment may.
class RawImage final : public Image {
public:
    // `sector_size`: 512, 2048 or 4096 bytes; the store's size has to be a multiple of it.
    static Result<std::unique_ptr<RawImage>> open(
        std::unique_ptr<Store> store, Format format, std::uint32_t sector_size);

    Extent find(std::uint64_t offset, std::uint64_t length) override;
    Extent reserve(std::uint64_t offset, std::uint64_t length) override;
    void finish(const Extent&, Outcome) override {}
    Result<void> prepare(std::uint64_t offset, std::uint64_t length, Access access) override;
    Result<void> flush() override;
    Result<void> discard(
        std::uint64_t offset, std::uint64_t length, std::vector<Store::Range>& skipped) override;
    Result<void> trim(std::uint64_t offset, std::uint64_t length) override;
    Result<void> resize(std::uint64_t size) override;
    Result<void> take_all() override;
    Result<void> close() override { return flush(); }

private:
    using Image::Image;
    Error cut_off(std::uint64_t offset, std::uint64_t end) const;
};

} // namespace croft::disk
