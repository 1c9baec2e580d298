// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "abi/status.h"

#include <cstdint>

namespace hypervisor {

/// HV_STATUS as a type of its own, one that cannot be dropped by mistake.
enum class [[nodiscard]] Status : std::uint16_t{
    success = HV_STATUS_SUCCESS,
    invalid_hypercall_code = HV_STATUS_INVALID_HYPERCALL_CODE,
    invalid_hypercall_input = HV_STATUS_INVALID_HYPERCALL_INPUT,
    invalid_alignment = HV_STATUS_INVALID_ALIGNMENT,
    invalid_parameter = HV_STATUS_INVALID_PARAMETER,
    access_denied = HV_STATUS_ACCESS_DENIED,
    invalid_partition_state = HV_STATUS_INVALID_PARTITION_STATE,
    operation_denied = HV_STATUS_OPERATION_DENIED,
    unknown_property = HV_STATUS_UNKNOWN_PROPERTY,
    property_value_out_of_range = HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE,
    insufficient_memory = HV_STATUS_INSUFFICIENT_MEMORY,
    invalid_partition_id = HV_STATUS_INVALID_PARTITION_ID,
    invalid_vp_index = HV_STATUS_INVALID_VP_INDEX,
    not_found = HV_STATUS_NOT_FOUND,
    invalid_port_id = HV_STATUS_INVALID_PORT_ID,
    invalid_connection_id = HV_STATUS_INVALID_CONNECTION_ID,
    insufficient_buffers = HV_STATUS_INSUFFICIENT_BUFFERS,
    invalid_vp_state = HV_STATUS_INVALID_VP_STATE,
    no_resources = HV_STATUS_NO_RESOURCES,
    invalid_lp_index = HV_STATUS_INVALID_LP_INDEX,
    invalid_register_value = HV_STATUS_INVALID_REGISTER_VALUE,
    insufficient_root_memory = HV_STATUS_INSUFFICIENT_ROOT_MEMORY,
};

} // namespace hypervisor
