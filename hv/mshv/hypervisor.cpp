// SPDX-License-Identifier: Apache-2.0
#include "hv/hypervisor.hpp"

#include "hv/error.hpp"
#include "hv/mshv/file.hpp"
#include "hv/mshv/ioctl.hpp"
#include "hv/mshv/partition.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <utility>

namespace croft::hv {

namespace mshv {
namespace {

constexpr std::uint64_t flag(PartitionFlag bit) {
    return std::uint64_t{1} << std::to_underlying(bit);
}

constexpr std::uint16_t feature_banks = 2;

class MshvHypervisor final : public Hypervisor {
public:
    explicit MshvHypervisor(File file) : file_(std::move(file)) {}

    std::unique_ptr<Partition> create_partition(const PartitionSettings& settings) override {
        CreatePartition arguments{};
        arguments.flags = flag(PartitionFlag::cpu_and_xsave_features) |
            (settings.local_apic ? flag(PartitionFlag::lapic) : 0) |
            (settings.x2apic ? flag(PartitionFlag::x2apic) : 0) |
            (settings.large_pages ? flag(PartitionFlag::gpa_super_pages) : 0) |
            (settings.nested ? flag(PartitionFlag::nested_virtualization) : 0) |
            (settings.smt ? flag(PartitionFlag::smt_enabled_guest) : 0);
        arguments.feature_bank_count = feature_banks;
        arguments.disabled_features[0] = settings.disabled_processor_features[0];
        arguments.disabled_features[1] = settings.disabled_processor_features[1];
        arguments.disabled_xsave = settings.disabled_xsave_features;
        const int descriptor = file_.request(
            "create a partition", mshv::create_partition, static_cast<void*>(&arguments));
        return std::make_unique<MshvPartition>(File(descriptor));
    }

private:
    File file_;
};

std::string advice(const std::string& path, int error) {
    switch (error) {
    case ENOENT:
        return fmt::format(
            "{}: found no such device, expected the hypervisor's; start this machine "
            "under Undercroft and run this in its root partition",
            path);
    case EACCES:
    case EPERM:
        return fmt::format(
            "{}: found no permission to open it, expected read and write access; run "
            "this as a user who has both",
            path);
    default:
        return fmt::format("{}: can't open the hypervisor's device: {}; look into the kernel's log",
            path, std::strerror(error));
    }
}

} // namespace

File open_device(const std::string& path) {
    const int descriptor = open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (descriptor < 0) {
        const int error = errno;
        throw HypervisorError(advice(path, error), error);
    }
    return File(descriptor);
}

} // namespace mshv

std::unique_ptr<Hypervisor> open_hypervisor(const std::string& path) {
    return std::make_unique<mshv::MshvHypervisor>(mshv::open_device(path));
}

} // namespace croft::hv
