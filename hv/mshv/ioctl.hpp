// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <sys/ioctl.h>

/// The requests of /dev/mshv and of the files that it hands out: layouts and numbers as upstream
/// Linux publishes them in include/uapi/linux/mshv.h, which Debian 12's headers don't have yet.
namespace croft::hv::mshv {

struct CreatePartition {
    std::uint64_t flags;
    std::uint64_t isolation;
    // From here on only with the flag `cpu_and_xsave_features`.
    std::uint16_t feature_bank_count;
    std::uint8_t reserved[6];
    std::uint64_t disabled_features[2];
    std::uint64_t reserved1[2];
    std::uint64_t disabled_xsave;
};
static_assert(sizeof(CreatePartition) == 64);

enum class PartitionFlag : std::uint8_t {
    lapic = 0,
    x2apic = 1,
    gpa_super_pages = 2,
    cpu_and_xsave_features = 3,
    nested_virtualization = 4,
    smt_enabled_guest = 5,
};

struct CreateVp {
    std::uint32_t vp_index;
};

struct UserMemoryRegion {
    std::uint64_t size;
    std::uint64_t guest_page;
    std::uint64_t user_address;
    std::uint8_t flags;
    std::uint8_t reserved[7];
};
static_assert(sizeof(UserMemoryRegion) == 32);

inline constexpr std::uint8_t memory_writable = 1U << 0;
inline constexpr std::uint8_t memory_executable = 1U << 1;
inline constexpr std::uint8_t memory_unmap = 1U << 2;

struct UserIrqFd {
    std::int32_t event;
    std::int32_t resample_event;
    std::uint32_t gsi;
    std::uint32_t flags;
};
static_assert(sizeof(UserIrqFd) == 16);

inline constexpr std::uint32_t irqfd_deassign = 1U << 0;
inline constexpr std::uint32_t irqfd_resample = 1U << 1;

struct UserIoEventFd {
    std::uint64_t data_match;
    std::uint64_t address;
    std::uint32_t length;
    std::int32_t event;
    std::uint32_t flags;
    std::uint8_t reserved[4];
};
static_assert(sizeof(UserIoEventFd) == 32);

inline constexpr std::uint32_t ioeventfd_data_match = 1U << 0;
inline constexpr std::uint32_t ioeventfd_deassign = 1U << 2;

struct UserIrqEntry {
    std::uint32_t gsi;
    std::uint32_t address_low;
    std::uint32_t address_high;
    std::uint32_t data;
};
/// Followed by the entries.
struct UserIrqTable {
    std::uint32_t count;
    std::uint32_t reserved;
};
static_assert(sizeof(UserIrqTable) == 8 && sizeof(UserIrqEntry) == 16);

struct PageAccessBitmap {
    std::uint8_t access_type;
    std::uint8_t access_operation;
    std::uint8_t reserved[6];
    std::uint64_t page_count;
    std::uint64_t first_page;
    std::uint64_t bitmap;
};
static_assert(sizeof(PageAccessBitmap) == 32);

struct RootHypercall {
    std::uint16_t code;
    std::uint16_t reps;
    std::uint16_t input_size;
    std::uint16_t output_size;
    std::uint16_t status;
    std::uint8_t reserved[6];
    std::uint64_t input;
    std::uint64_t output;
};
static_assert(sizeof(RootHypercall) == 32);

inline constexpr std::size_t run_message_size = 256;

struct RunVp {
    std::uint8_t message[run_message_size];
};

enum class VpStateKind : std::uint8_t { lapic = 0, xsave = 1, simp = 2, siefp = 3, stimers = 4 };

struct VpStateRequest {
    std::uint8_t type;
    std::uint8_t reserved[3];
    std::uint32_t size;
    std::uint64_t buffer;
};
static_assert(sizeof(VpStateRequest) == 16);

/// What a VP's file maps, as page numbers of its offset.
inline constexpr std::uint64_t map_registers = 0;

inline constexpr unsigned ioctl_type = 0xb8;
/// The number of the first request is that of the version without the features, whose size it
/// holds.
inline constexpr unsigned long create_partition = _IOC(_IOC_WRITE, ioctl_type, 0x00, 16);
inline constexpr unsigned long initialize_partition = _IO(ioctl_type, 0x00);
inline constexpr unsigned long create_vp = _IOW(ioctl_type, 0x01, CreateVp);
inline constexpr unsigned long set_guest_memory = _IOW(ioctl_type, 0x02, UserMemoryRegion);
inline constexpr unsigned long irqfd = _IOW(ioctl_type, 0x03, UserIrqFd);
inline constexpr unsigned long ioeventfd = _IOW(ioctl_type, 0x04, UserIoEventFd);
inline constexpr unsigned long set_msi_routing = _IOW(ioctl_type, 0x05, UserIrqTable);
inline constexpr unsigned long get_page_access = _IOWR(ioctl_type, 0x06, PageAccessBitmap);
inline constexpr unsigned long root_hypercall = _IOWR(ioctl_type, 0x07, RootHypercall);
inline constexpr unsigned long run_vp = _IOR(ioctl_type, 0x00, RunVp);
inline constexpr unsigned long get_vp_state = _IOWR(ioctl_type, 0x01, VpStateRequest);
inline constexpr unsigned long set_vp_state = _IOWR(ioctl_type, 0x02, VpStateRequest);

} // namespace croft::hv::mshv
