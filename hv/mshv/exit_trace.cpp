// SPDX-License-Identifier: Apache-2.0
#include "hv/exit_trace.hpp"

#include "hv/error.hpp"
#include "hv/mshv/file.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <string>
#include <sys/file.h>
#include <unistd.h>
#include <utility>

namespace croft::hv {

namespace mshv {
namespace {

constexpr auto msr_device = "/dev/cpu/0/msr";

class MshvExitTrace final : public ExitTrace {
public:
    MshvExitTrace(File device, File lock, std::uint64_t key)
        : device_(std::move(device)),
          lock_(std::move(lock)),
          key_(key) {}

    hv_exit_trace read(unsigned lp) override {
        return ask("read the trace of exits", HV_PARTITION_PROPERTY_EXIT_TRACE, lp);
    }
    hv_exit_trace end(unsigned lp) override {
        return ask("end the trace of exits", HV_PARTITION_PROPERTY_EXIT_TRACE_END, lp);
    }

private:
    [[nodiscard]] hv_exit_trace ask(const char* what, std::uint32_t property, unsigned lp) const {
        if (lp >= HV_EXIT_TRACE_MAX_LPS) {
            throw HypervisorError(fmt::format("found logical processor {}; expected one below {}",
                                      lp, HV_EXIT_TRACE_MAX_LPS),
                EINVAL, HV_STATUS_INVALID_LP_INDEX);
        }
        hv_input_get_partition_property_ex input{};
        input.property_code = property + lp;
        input.arg = key_;
        hv_exit_trace answer{};
        device_.call(what, HVCALL_GET_PARTITION_PROPERTY_EX, input, answer);
        return answer;
    }

    File device_;
    File lock_; // as long as it is open, nobody else reads
    std::uint64_t key_;
};

std::string msr_advice(int error) {
    switch (error) {
    case EACCES:
    case EPERM:
        return fmt::format("{}: found no permission to read it, expected that of root; run this as "
                           "root, on a kernel that isn't locked down",
            msr_device);
    case ENOENT:
    case ENXIO:
    case ENODEV:
        return fmt::format("{}: found no such device, expected the kernel's for reading MSRs; load "
                           "its module: modprobe msr",
            msr_device);
    default:
        return fmt::format(
            "{}: {}; expected to read an MSR from it", msr_device, std::strerror(error));
    }
}

/// Who has this file locked is the one reader.
File open_msrs() {
    File msrs(open(msr_device, O_RDONLY | O_CLOEXEC));
    if (msrs.descriptor() < 0) {
        const int error = errno;
        throw HypervisorError(msr_advice(error), error);
    }
    if (flock(msrs.descriptor(), LOCK_EX | LOCK_NB) != 0) {
        const int error = errno;
        throw HypervisorError(error == EWOULDBLOCK ? "found somebody who reads the trace of exits "
                                                     "already, expected nobody; wait until "
                                                     "that has ended, or end it"
                                                   : msr_advice(error),
            error);
    }
    return msrs;
}

std::uint64_t read_key(const File& msrs) {
    std::uint64_t key = 0;
    if (pread(msrs.descriptor(), &key, sizeof key, HV_X64_MSR_EXIT_TRACE_KEY) != sizeof key) {
        throw HypervisorError(
            "found a hypervisor that has no trace of exits, expected Undercroft's; "
            "start this machine under an Undercroft of this version",
            ENOTSUP);
    }
    return key;
}

} // namespace
} // namespace mshv

std::unique_ptr<ExitTrace> open_exit_trace() {
    mshv::File device = mshv::open_device("/dev/mshv");
    mshv::File msrs = mshv::open_msrs();
    const std::uint64_t key = mshv::read_key(msrs);
    return std::make_unique<mshv::MshvExitTrace>(std::move(device), std::move(msrs), key);
}

} // namespace croft::hv
