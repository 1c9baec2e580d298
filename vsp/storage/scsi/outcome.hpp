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
    /// What the medium's data has to do with the guest's, if the operation has any.
    enum class Data : std::uint8_t {
        /// It moves from one to the other.
        moves,
        /// It is read, and has to be the guest's.
        is_compared,
        /// Each block is, or has to be, `block`.
        is_one_block,
        /// It is read, and that is all.
        is_unused,
    };

    disk::Operation operation = disk::Operation::read;
    bool durable = false;
    Blocks blocks;
    /// Of UNMAP, the ranges behind the first.
    std::vector<Blocks> more = {};
    Data data = Data::moves;
    std::vector<std::uint8_t> block = {};
};

using Outcome = std::variant<Answer, MediumAccess>;

} // namespace croft::vsp::storage::scsi
