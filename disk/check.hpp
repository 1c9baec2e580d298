// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/image.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace croft::disk {

// What is the matter with an image.
struct Finding {
    enum class Severity : std::uint8_t {
        note,   // wasteful or unusual; everything reads as it was written
        damage, // a structure is wrong; another one stands in for it, nothing is lost
        loss,   // contents of the disk can't be read
    };
    Severity severity = Severity::note;
    std::uint64_t offset = 0; // bytes, in the file
    std::string what;
    std::uint64_t lost = 0; // bytes of the disk that a repair gives up
    bool repairable = false;
};

std::string_view to_string(Finding::Severity severity);

struct CheckReport {
    std::vector<Finding> findings; // at most `findings_max`
    std::uint64_t found = 0;       // how many there were
    std::uint64_t blocks_used = 0;
    std::uint64_t fragments = 0; // runs of blocks that lie one after another in the file
    std::uint64_t leaked = 0;    // bytes of the file that belong to nothing and take room
    std::uint64_t lost = 0;      // bytes of the disk

    static constexpr std::size_t findings_max = 1000;
    void add(Finding finding);
    // Whether add() would keep one of that severity. A hostile file may have millions: those that
    // would not be kept are counted only, which costs no text.
    bool wants(Finding::Severity severity) const;
    void count(std::uint64_t lost_bytes);
    bool clean() const; // nothing worse than a note

private:
    Finding::Severity least_ = Finding::Severity::note; // of the findings that are kept
};

// Looks at all metadata of one image; its payload and its parents are not read.
Result<CheckReport> check(Image& image);

// Mends what check() calls repairable in an image that is open for writing, durably. Answers what
// there was before.
Result<CheckReport> repair(Image& image);

} // namespace croft::disk
