// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/request.hpp"
#include "vsp/storage/scsi/cdb.hpp"
#include "vsp/storage/scsi/sense.hpp"

#include <cstddef>
#include <cstdint>
#include <utility>
#include <variant>
#include <vector>

namespace croft::vsp::storage::scsi {

/// A command that is over: it failed, or here is what the guest asked for.
struct Answer {
    Sense sense;
    std::vector<std::uint8_t> data;

    Answer() = default;
    explicit Answer(const Sense& why) : sense(why) {}
    /// `bytes`, but no more than the guest has allocated.
    Answer(std::vector<std::uint8_t> bytes, std::uint64_t allocation_length)
        : data(std::move(bytes)) {
        if (data.size() > allocation_length) {
            data.resize(allocation_length);
        }
    }
};

/// A command that goes on to the medium. The blocks are there.
struct MediumAccess {
    disk::Operation operation = disk::Operation::read;
    bool durable = false;
    Blocks blocks;
    /// Of UNMAP, the ranges behind the first.
    std::vector<Blocks> more;
};

using Outcome = std::variant<Answer, MediumAccess>;

} // namespace croft::vsp::storage::scsi
