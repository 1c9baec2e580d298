/* SPDX-License-Identifier: Apache-2.0 */
#include "abi/status.h"
#include "hv/c/croft_hv.h"

const char* croft_hv_error_text(enum croft_hv_error error) {
    switch (error) {
    case CROFT_HV_OK:
        return "all is well";
    case CROFT_HV_NONE:
        return "found no hypervisor with the interface Hv#1";
    case CROFT_HV_DENIED:
        return "the partition has no right to the registers of hypercalls";
    case CROFT_HV_NO_IDENTITY:
        return "the guest's identity was not taken; expected one that isn't 0";
    case CROFT_HV_NOT_ALIGNED:
        return "the hypercall page does not begin at a multiple of 4096";
    case CROFT_HV_LOCKED:
        return "a hypercall page is set up elsewhere and locked until the next reset";
    case CROFT_HV_REFUSED:
        return "the hypercall page was not taken; expected a guest physical address of memory";
    }
    return "unknown error";
}

const char* croft_hv_status_text(uint16_t status) {
    switch (status) {
    case HV_STATUS_SUCCESS:
        return "the hypercall is done";
    case HV_STATUS_INVALID_HYPERCALL_CODE:
        return "the hypervisor has no such hypercall";
    case HV_STATUS_INVALID_HYPERCALL_INPUT:
        return "the control word doesn't fit the hypercall, or its input or output is no memory";
    case HV_STATUS_INVALID_ALIGNMENT:
        return "input or output doesn't begin at a multiple of 8, or crosses a page";
    case HV_STATUS_INVALID_PARAMETER:
        return "a parameter has a value that it can't have";
    case HV_STATUS_ACCESS_DENIED:
        return "the partition has no right to that";
    case HV_STATUS_INVALID_PARTITION_STATE:
        return "the partition isn't in a state for that";
    case HV_STATUS_OPERATION_DENIED:
        return "that can't be done now";
    case HV_STATUS_UNKNOWN_PROPERTY:
        return "there is no such property";
    case HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE:
        return "the property can't have that value";
    case HV_STATUS_INSUFFICIENT_MEMORY:
        return "the partition has too little memory deposited";
    case HV_STATUS_INVALID_PARTITION_ID:
        return "there is no such partition";
    case HV_STATUS_INVALID_VP_INDEX:
        return "there is no virtual processor of that index";
    case HV_STATUS_NOT_FOUND:
        return "what was asked for is not there";
    case HV_STATUS_INVALID_PORT_ID:
        return "there is no such port";
    case HV_STATUS_INVALID_CONNECTION_ID:
        return "there is no such connection";
    case HV_STATUS_INSUFFICIENT_BUFFERS:
        return "the receiver has no room left for the message";
    case HV_STATUS_NOT_ACKNOWLEDGED:
        return "the last message has not been acknowledged";
    case HV_STATUS_INVALID_VP_STATE:
        return "the virtual processor isn't in a state for that";
    case HV_STATUS_NO_RESOURCES:
        return "there is no more of what was asked for";
    case HV_STATUS_PROCESSOR_FEATURE_NOT_SUPPORTED:
        return "the processor hasn't a feature that was asked for";
    case HV_STATUS_INVALID_LP_INDEX:
        return "there is no logical processor of that index";
    case HV_STATUS_INVALID_REGISTER_VALUE:
        return "a register can't have that value";
    case HV_STATUS_OPERATION_FAILED:
        return "it has failed";
    case HV_STATUS_INSUFFICIENT_ROOT_MEMORY:
        return "the root partition has too little memory deposited";
    default:
        return "unknown status";
    }
}
