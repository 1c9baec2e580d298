// SPDX-License-Identifier: Apache-2.0
//
// Saved states against bytes from another host: RecordError is the only way out but success.
#include "vdev/ioapic/ioapic_state.hpp"
#include "vdev/pit/pit_state.hpp"
#include "vdev/power/power_state.hpp"
#include "vdev/record.hpp"
#include "vdev/rtc/rtc_state.hpp"
#include "vdev/serial/uart_state.hpp"

#include <cstdint>

namespace {

template <typename State>
void load(const croft::vdev::Record& record) {
    try {
        (void)State::load(record);
    } catch (const croft::vdev::RecordError&) { // as it should be
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace croft::vdev;
    try {
        const Record record = Record::decode({data, size});
        load<UartState>(record);
        load<RtcState>(record);
        load<PitState>(record);
        load<PowerState>(record);
        load<IoApicState>(record);
    } catch (const RecordError&) { // as it should be
    }
    return 0;
}
