// SPDX-License-Identifier: Apache-2.0
#include "vdev/ioapic/ioapic_state.hpp"

#include <fmt/format.h>

namespace croft::vdev {

namespace {
constexpr const char* ioapic_record = "ioapic";
constexpr std::uint32_t ioapic_version = 1;

std::string entry_name(unsigned pin) {
    return fmt::format("redirection{}", pin);
}
} // namespace

Record IoApicState::save() const {
    Record record(ioapic_record, ioapic_version);
    record.set("id", id).set("selected", selected).set("levels", levels);
    for (unsigned pin = 0; pin < pin_count; ++pin) {
        record.set(entry_name(pin), redirection[pin]);
    }
    return record;
}

IoApicState IoApicState::load(const Record& record) {
    record.expect(ioapic_record, ioapic_version);
    IoApicState state;
    state.id = record.get<std::uint8_t>("id", 0x0f);
    state.selected = record.get<std::uint8_t>("selected");
    state.levels = record.get<std::uint32_t>("levels", (1U << pin_count) - 1);
    for (unsigned pin = 0; pin < pin_count; ++pin) {
        state.redirection[pin] = record.get<std::uint64_t>(entry_name(pin));
    }
    return state;
}

} // namespace croft::vdev
