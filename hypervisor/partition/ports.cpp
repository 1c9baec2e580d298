// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/ports.hpp"

namespace hypervisor {

bool Doorbell::matches_write(std::uint64_t address, unsigned size, std::uint64_t value) const {
    if (!in_use || gpa != address) {
        return false;
    }
    const std::uint64_t wanted = flags & HV_DOORBELL_FLAG_TRIGGER_SIZE_MASK;
    if (wanted != HV_DOORBELL_FLAG_TRIGGER_SIZE_ANY && size != 1u << (wanted - 1)) {
        return false;
    }
    return (flags & HV_DOORBELL_FLAG_TRIGGER_ANY_VALUE) != 0 || value == trigger_value;
}

} // namespace hypervisor
