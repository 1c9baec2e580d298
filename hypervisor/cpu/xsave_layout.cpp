// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/cpu/xsave_layout.hpp"

#include <algorithm>
#include <cstring>

namespace hypervisor {

namespace {

constexpr unsigned first_extended = 2;
constexpr std::uint64_t x87 = 1u << 0;
constexpr std::uint64_t sse = 1u << 1;
constexpr std::uint32_t alignment = 64;
// In the legacy area.
constexpr std::size_t mxcsr_at = 24;
constexpr std::size_t mxcsr_end = 32; // with its mask
constexpr std::size_t xmm_at = 160;
constexpr std::size_t xmm_end = 416;
constexpr std::uint32_t mxcsr_reset = 0x1f80;
constexpr std::uint16_t fcw_reset = 0x37f;
// In the header.
constexpr std::size_t states_in_use_at = 512;
constexpr std::size_t format_at = 520;

template <class T>
T load(std::span<const std::byte> area, std::size_t at) {
    T value;
    std::memcpy(&value, area.data() + at, sizeof value);
    return value;
}
template <class T>
void store(std::span<std::byte> area, std::size_t at, T value) {
    std::memcpy(area.data() + at, &value, sizeof value);
}
void copy(
    std::span<const std::byte> from, std::span<std::byte> to, std::size_t begin, std::size_t end) {
    std::memcpy(to.data() + begin, from.data() + begin, end - begin);
}
bool has(std::uint64_t states, unsigned state) {
    return ((states >> state) & 1) != 0;
}

/// Where the compacted form has each of its states.
class Walk final {
public:
    explicit Walk(std::uint64_t format) : format_{format} {}

    /// The place of the next state, which is at least first_extended.
    std::uint32_t place(unsigned state, const XsaveLayout::Component& component) {
        if (!has(format_, state)) {
            return end_;
        }
        const std::uint32_t at =
            component.aligned ? (end_ + alignment - 1) / alignment * alignment : end_;
        end_ = at + component.size;
        return at;
    }
    [[nodiscard]] std::uint32_t end() const { return end_; }

private:
    std::uint64_t format_;
    std::uint32_t end_ = XsaveLayout::header_end;
};

void fill_x87(std::span<std::byte> area) {
    std::memset(area.data(), 0, mxcsr_at);
    std::memset(area.data() + mxcsr_end, 0, xmm_at - mxcsr_end);
    store(area, 0, fcw_reset);
}

} // namespace

void XsaveLayout::settle(std::span<std::byte> standard) {
    const auto in_use = load<std::uint64_t>(standard, states_in_use_at);
    if ((in_use & x87) == 0) {
        fill_x87(standard);
    }
    if ((in_use & sse) == 0) {
        std::memset(standard.data() + xmm_at, 0, xmm_end - xmm_at);
    }
}

std::uint32_t XsaveLayout::standard_size(std::uint64_t states) const {
    std::uint32_t result = header_end;
    for (unsigned state = first_extended; state < state_count; ++state) {
        if (has(states, state)) {
            result = std::max(result, components_[state].offset + components_[state].size);
        }
    }
    return result;
}

std::uint32_t XsaveLayout::compacted_size(std::uint64_t states) const {
    Walk walk{states};
    for (unsigned state = first_extended; state < state_count; ++state) {
        (void)walk.place(state, components_[state]);
    }
    return walk.end();
}

/// The standard form has MXCSR whether SSE is in use or not; in the compacted one it is a part of
/// it.
void XsaveLayout::compact(
    std::span<const std::byte> standard, std::uint64_t states, std::span<std::byte> to) const {
    std::memset(to.data(), 0, compacted_size(states));
    auto in_use = load<std::uint64_t>(standard, states_in_use_at) & states;
    if (load<std::uint32_t>(standard, mxcsr_at) != mxcsr_reset) {
        in_use |= sse;
    }
    copy(standard, to, 0, legacy_size);
    store(to, states_in_use_at, in_use);
    store(to, format_at, states | compacted);
    Walk walk{states};
    for (unsigned state = first_extended; state < state_count; ++state) {
        const Component& component = components_[state];
        const std::uint32_t at = walk.place(state, component);
        if (has(in_use, state)) {
            std::memcpy(to.data() + at, standard.data() + component.offset, component.size);
        }
    }
}

void XsaveLayout::expand(std::span<const std::byte> area, std::span<std::byte> standard) const {
    const auto in_use = load<std::uint64_t>(area, states_in_use_at);
    const auto format = load<std::uint64_t>(area, format_at);
    if ((format & compacted) == 0) {
        std::memcpy(standard.data(), area.data(), std::min(area.size(), standard.size()));
        return;
    }
    std::memset(standard.data(), 0, standard.size());
    if ((in_use & x87) != 0) {
        copy(area, standard, 0, mxcsr_at);
        copy(area, standard, mxcsr_end, xmm_at);
    } else {
        store(standard, 0, fcw_reset);
    }
    store(standard, mxcsr_at, mxcsr_reset);
    if ((in_use & sse) != 0) {
        copy(area, standard, mxcsr_at, mxcsr_end);
        copy(area, standard, xmm_at, xmm_end);
    }
    store(standard, states_in_use_at, in_use);
    Walk walk{format};
    for (unsigned state = first_extended; state < state_count; ++state) {
        const Component& component = components_[state];
        const std::uint32_t at = walk.place(state, component);
        if (has(in_use, state)) {
            std::memcpy(standard.data() + component.offset, area.data() + at, component.size);
        }
    }
}

} // namespace hypervisor
