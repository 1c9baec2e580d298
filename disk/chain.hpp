// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/image.hpp"

#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace croft::disk {

// An image and its ancestors, the one that is written first. Reads fall through; a parent that is
// shorter than its child reads as zeros beyond its end.
//
// The blocking calls are for tools, tests and mounting; VSPs use Disk, which drives the same images
// from io_uring. Both may be used at once.
class Chain {
public:
    explicit Chain(std::vector<std::unique_ptr<Image>> images) : images_{std::move(images)} {}

    Image& top() { return *images_.front(); }
    const Image& top() const { return *images_.front(); }
    std::span<const std::unique_ptr<Image>> images() const { return images_; }
    std::uint64_t size() const { return top().size(); }

    // Where a piece of the disk is, and in which image.
    struct Place {
        Image* image; // null when no image has it: zeros
        Extent extent;
    };
    // Never blocks. `absent` names the image whose prepare() has to be called.
    Place find(std::uint64_t offset, std::uint64_t length);
    // The same, but prepares what is absent.
    Result<Place> locate(std::uint64_t offset, std::uint64_t length);

    Result<void> read(std::uint64_t offset, std::span<std::byte> bytes);
    Result<void> write(std::uint64_t offset, std::span<const std::byte> bytes);
    Result<void> flush() { return top().flush(); }
    // Advisory: what the format can't forget stays as it is.
    Result<void> discard(std::uint64_t offset, std::uint64_t length);
    Result<void> write_zeroes(std::uint64_t offset, std::uint64_t length);
    Result<void> close();

    // Changes of the chain itself, while nobody uses it. Both answer the image that is no part of
    // it any more.
    std::unique_ptr<Image> replace(std::size_t depth, std::unique_ptr<Image> image) {
        return std::exchange(images_[depth], std::move(image));
    }
    std::unique_ptr<Image> drop_top();
    // An image that is no part of the chain any more, but whose store another one still needs.
    void retire(std::unique_ptr<Image> image) { retired_.push_back(std::move(image)); }

    // Checks that a range lies within the disk and is made of whole sectors.
    Status admit(std::uint64_t offset, std::uint64_t length) const;

private:
    Result<void> admitted(std::uint64_t offset, std::uint64_t length) const;

    std::vector<std::unique_ptr<Image>> retired_; // before images_: outlives them
    std::vector<std::unique_ptr<Image>> images_;
};

// Writes to one image, blocking. What it says of the range afterwards is `data`.
Result<void> write_to(Image& image, std::uint64_t offset, std::span<const std::byte> bytes);

} // namespace croft::disk
