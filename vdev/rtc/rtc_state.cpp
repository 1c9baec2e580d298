// SPDX-License-Identifier: Apache-2.0
#include "vdev/rtc/rtc_state.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace croft::vdev {

namespace {
constexpr const char* rtc_record = "mc146818";
constexpr std::uint32_t rtc_version = 1;
/// A hundred thousand years: far more than the registers can show, and far from overflow.
constexpr std::int64_t largest_offset = 100'000LL * 366 * 86'400;
} // namespace

Record RtcState::save() const {
    Record record(rtc_record, rtc_version);
    record.set("index", index)
        .set_bytes("memory", memory)
        .set_signed("offset", offset)
        .set_signed("computed_until", computed_until);
    return record;
}

RtcState RtcState::load(const Record& record) {
    record.expect(rtc_record, rtc_version);
    RtcState state;
    state.index = record.get<std::uint8_t>("index", memory_size - 1);
    const std::vector<std::uint8_t> memory = record.get_bytes("memory", memory_size);
    state.offset = record.get_signed("offset");
    state.computed_until = record.get_signed("computed_until");
    if (memory.size() != memory_size || state.offset > largest_offset ||
        state.offset < -largest_offset) {
        throw RecordError(
            fmt::format("saved state of '{}': found {} bytes of memory and an offset of "
                        "{} s, expected {} bytes and less than {} s; the file is "
                        "damaged or was changed",
                rtc_record, memory.size(), state.offset, memory_size, largest_offset));
    }
    std::copy(memory.begin(), memory.end(), state.memory.begin());
    return state;
}

} // namespace croft::vdev
