// SPDX-License-Identifier: Apache-2.0
#include "hv/mshv/file.hpp"

#include "hv/abi.hpp"
#include "hv/error.hpp"
#include "hv/mshv/ioctl.hpp"

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <unistd.h>

namespace croft::hv::mshv {

namespace {

struct StatusName {
    unsigned status;
    const char* name;
};

constexpr std::array status_names = {
    StatusName{HV_STATUS_INVALID_HYPERCALL_CODE, "HV_STATUS_INVALID_HYPERCALL_CODE"},
    StatusName{HV_STATUS_INVALID_HYPERCALL_INPUT, "HV_STATUS_INVALID_HYPERCALL_INPUT"},
    StatusName{HV_STATUS_INVALID_ALIGNMENT, "HV_STATUS_INVALID_ALIGNMENT"},
    StatusName{HV_STATUS_INVALID_PARAMETER, "HV_STATUS_INVALID_PARAMETER"},
    StatusName{HV_STATUS_ACCESS_DENIED, "HV_STATUS_ACCESS_DENIED"},
    StatusName{HV_STATUS_INVALID_PARTITION_STATE, "HV_STATUS_INVALID_PARTITION_STATE"},
    StatusName{HV_STATUS_OPERATION_DENIED, "HV_STATUS_OPERATION_DENIED"},
    StatusName{HV_STATUS_UNKNOWN_PROPERTY, "HV_STATUS_UNKNOWN_PROPERTY"},
    StatusName{HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE, "HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE"},
    StatusName{HV_STATUS_INSUFFICIENT_MEMORY, "HV_STATUS_INSUFFICIENT_MEMORY"},
    StatusName{HV_STATUS_INVALID_PARTITION_ID, "HV_STATUS_INVALID_PARTITION_ID"},
    StatusName{HV_STATUS_INVALID_VP_INDEX, "HV_STATUS_INVALID_VP_INDEX"},
    StatusName{HV_STATUS_NOT_FOUND, "HV_STATUS_NOT_FOUND"},
    StatusName{HV_STATUS_INSUFFICIENT_BUFFERS, "HV_STATUS_INSUFFICIENT_BUFFERS"},
    StatusName{HV_STATUS_INVALID_VP_STATE, "HV_STATUS_INVALID_VP_STATE"},
    StatusName{HV_STATUS_INVALID_REGISTER_VALUE, "HV_STATUS_INVALID_REGISTER_VALUE"},
    StatusName{HV_STATUS_OPERATION_FAILED, "HV_STATUS_OPERATION_FAILED"},
};

} // namespace

std::string status_name(std::uint16_t status) {
    for (const StatusName& entry : status_names) {
        if (entry.status == status) {
            return entry.name;
        }
    }
    return fmt::format("HV_STATUS {:#06x}", status);
}

File& File::operator=(File&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
}

File::~File() {
    if (descriptor_ >= 0) {
        close(descriptor_);
    }
}

int File::request(std::string_view what, unsigned long number, std::uint64_t argument) const {
    int result = 0;
    do {
        result = ioctl(descriptor_, number, argument);
    } while (result < 0 && errno == EINTR);
    if (result < 0) {
        const int error = errno;
        throw HypervisorError(
            fmt::format("the hypervisor's driver refused to {}: {}", what, std::strerror(error)),
            error);
    }
    return result;
}

int File::request(std::string_view what, unsigned long number, void* argument) const {
    return request(what, number, std::bit_cast<std::uint64_t>(argument));
}

void File::hypercall(std::string_view what, std::uint16_t code, std::span<const std::byte> input,
    std::span<std::byte> output) const {
    rep_hypercall(what, code, 0, input, output);
}

void File::rep_hypercall(std::string_view what, std::uint16_t code, std::uint16_t reps,
    std::span<const std::byte> input, std::span<std::byte> output) const {
    RootHypercall arguments{};
    arguments.code = code;
    arguments.reps = reps;
    arguments.input_size = static_cast<std::uint16_t>(input.size());
    arguments.output_size = static_cast<std::uint16_t>(output.size());
    arguments.input = std::bit_cast<std::uint64_t>(input.data());
    arguments.output = output.empty() ? 0 : std::bit_cast<std::uint64_t>(output.data());
    if (ioctl(descriptor_, root_hypercall, &arguments) == 0) {
        return;
    }
    const int error = errno;
    throw HypervisorError(
        fmt::format("the hypervisor refused to {}: {}", what,
            arguments.status != 0 ? status_name(arguments.status) : std::strerror(error)),
        error, arguments.status);
}

} // namespace croft::hv::mshv
