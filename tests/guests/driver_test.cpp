// SPDX-License-Identifier: Apache-2.0
// What other programs do with the driver's files and ours doesn't.
#include "hv/abi.hpp"
#include "hv/error.hpp"
#include "hv/mshv/file.hpp"
#include "hv/mshv/ioctl.hpp"
#include "tests/guests/guest_code.hpp"
#include "tests/guests/guest_machine.hpp"

#include <array>
#include <bit>
#include <cstring>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

GUEST(gives_and_says_xmm)
GUEST(halts_in_real_mode)

namespace croft::guests {

namespace {

using hv::mshv::File;

File open_device() {
    return File{open("/dev/mshv", O_RDWR | O_CLOEXEC)};
}

/// The properties of the own partition are the machine's, before there is a child.
TEST(Driver, TellsWhatAChildCanHave) {
    const File device = open_device();
    hv_input_get_partition_property input{};
    hv_output_get_partition_property output{};
    input.property_code = HV_PARTITION_PROPERTY_PROCESSOR_FEATURES0;
    device.call("ask for features", HVCALL_GET_PARTITION_PROPERTY, input, output);
    EXPECT_NE(output.property_value, 0u);
    input.property_code = HV_PARTITION_PROPERTY_PROCESSOR_FEATURES1;
    device.call("ask for features", HVCALL_GET_PARTITION_PROPERTY, input, output);
    hv_input_get_partition_property_ex extended{};
    hv_partition_property_banks banks{};
    extended.property_code = HV_PARTITION_PROPERTY_ASSIGNABLE_SYNTHETIC_PROC_FEATURES;
    device.call("ask for features", HVCALL_GET_PARTITION_PROPERTY_EX, extended, banks);
    EXPECT_EQ(banks.bank_count, 1u);
    EXPECT_NE(banks.bank0 & HV_SYNTHETIC_CLUSTER_IPI, 0u);
    EXPECT_NE(banks.bank0 & HV_SYNTHETIC_TB_FLUSH_HYPERCALLS, 0u);
}

/// The key of the trace of exits, which whoever may read MSRs knows.
std::uint64_t trace_key() {
    const File msrs{open("/dev/cpu/0/msr", O_RDONLY | O_CLOEXEC)};
    std::uint64_t key = 0;
    EXPECT_EQ(pread(msrs.descriptor(), &key, sizeof key, HV_X64_MSR_EXIT_TRACE_KEY), 8);
    return key;
}

/// What the hypervisor says to a reading of the trace of exits.
std::uint16_t trace_status(
    const File& file, std::uint32_t code, std::uint64_t key, hv_exit_trace* answer = nullptr) {
    hv_input_get_partition_property_ex input{};
    input.property_code = code;
    input.arg = key;
    hv_exit_trace ignored{};
    try {
        file.call("read a trace", HVCALL_GET_PARTITION_PROPERTY_EX, input,
            answer != nullptr ? *answer : ignored);
        return HV_STATUS_SUCCESS;
    } catch (const hv::HypervisorError& error) {
        return error.status();
    }
}

/// Others than the reader of MSRs may make partitions, and are told nothing of those of others.
TEST(Driver, TheTraceOfExitsIsForWhoHasItsKey) {
    const File device = open_device();
    const std::uint64_t key = trace_key();
    EXPECT_EQ(trace_key(), key);
    EXPECT_NE(key, 0u);
    constexpr std::uint32_t end = HV_PARTITION_PROPERTY_EXIT_TRACE_END + HV_EXIT_TRACE_MAX_LPS;
    for (std::uint32_t code = HV_PARTITION_PROPERTY_EXIT_TRACE; code < end; ++code) {
        for (const std::uint64_t wrong : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0},
                 key + 1, key ^ std::uint64_t{1} << 63, ~key}) {
            ASSERT_EQ(trace_status(device, code, wrong), HV_STATUS_ACCESS_DENIED) << code;
        }
    }
    for (const std::uint32_t code : {HV_PARTITION_PROPERTY_EXIT_TRACE - 1, end,
             HV_PARTITION_PROPERTY_EXIT_TRACE | std::uint32_t{1} << 31}) {
        EXPECT_EQ(trace_status(device, code, key), HV_STATUS_UNKNOWN_PROPERTY) << code;
    }
}

TEST(Driver, TheTraceOfExitsIsOfTheMachine) {
    const File device = open_device();
    const std::uint64_t key = trace_key();
    hv_exit_trace first{};
    EXPECT_EQ(trace_status(device, HV_PARTITION_PROPERTY_EXIT_TRACE, key, &first), 0u);
    EXPECT_EQ(first.count, 0u);
    EXPECT_GT(first.lp_count, 0u);
    EXPECT_GT(first.tsc_frequency, 0u);
    for (std::uint32_t lp = first.lp_count; lp < HV_EXIT_TRACE_MAX_LPS; ++lp) {
        for (const std::uint32_t code :
            {HV_PARTITION_PROPERTY_EXIT_TRACE, HV_PARTITION_PROPERTY_EXIT_TRACE_END}) {
            ASSERT_EQ(trace_status(device, code + lp, key), HV_STATUS_INVALID_LP_INDEX) << lp;
        }
    }
    // A child's file asks about the child, which has no such property.
    hv::mshv::CreatePartition settings{};
    const File partition{
        device.request("create", hv::mshv::create_partition, static_cast<void*>(&settings))};
    EXPECT_EQ(
        trace_status(partition, HV_PARTITION_PROPERTY_EXIT_TRACE, key), HV_STATUS_UNKNOWN_PROPERTY);
    hv_exit_trace last{};
    EXPECT_EQ(trace_status(device, HV_PARTITION_PROPERTY_EXIT_TRACE_END, key, &last), 0u);
    EXPECT_EQ(last.count, 0u);
    // Twice is no harm.
    EXPECT_EQ(trace_status(device, HV_PARTITION_PROPERTY_EXIT_TRACE_END, key), 0u);
}

/// One virtual processor in real mode, over one page at address 0x1000.
class RawMachine {
public:
    explicit RawMachine(Code code, bool has_local_apic = true) : page_{allocate()} {
        std::memcpy(page_, code.data(), code.size());
        const File device = open_device();
        hv::mshv::CreatePartition settings{};
        settings.flags =
            has_local_apic ? 1u << static_cast<unsigned>(hv::mshv::PartitionFlag::lapic) : 0;
        partition_ = File{
            device.request("create", hv::mshv::create_partition, static_cast<void*>(&settings))};
        partition_.request("initialize", hv::mshv::initialize_partition, std::uint64_t{0});
        hv::mshv::UserMemoryRegion region{};
        region.size = HV_PAGE_SIZE;
        region.guest_page = 1;
        region.user_address = std::bit_cast<std::uint64_t>(page_);
        region.flags = hv::mshv::memory_writable | hv::mshv::memory_executable;
        partition_.request("map", hv::mshv::set_guest_memory, static_cast<void*>(&region));
        hv::mshv::CreateVp vp{0};
        vp_ = File{partition_.request("create", hv::mshv::create_vp, static_cast<void*>(&vp))};
        void* const at = mmap(nullptr, HV_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
            vp_.descriptor(), hv::mshv::map_registers);
        registers_ = static_cast<hv_vp_register_page*>(at);
        set(HV_X64_REGISTER_CR4, 3u << 9);
        hv_register_assoc cs{};
        cs.value.segment.limit = 0xffff;
        cs.value.segment.attributes = 0x9b;
        set(HV_X64_REGISTER_CS, cs.value);
        set(HV_X64_REGISTER_RIP, 0x1000);
    }
    ~RawMachine() {
        munmap(registers_, HV_PAGE_SIZE);
        vp_ = File{};
        partition_ = File{};
        munmap(page_, HV_PAGE_SIZE);
    }
    RawMachine(const RawMachine&) = delete;
    RawMachine& operator=(const RawMachine&) = delete;

    /// Runs it until something stops it.
    hv_message next() {
        hv::mshv::RunVp message{};
        vp_.request("run", hv::mshv::run_vp, static_cast<void*>(&message));
        hv_message result{};
        std::memcpy(&result, message.message, sizeof result);
        return result;
    }
    /// Runs it until it writes to a port. \return what it wrote.
    std::uint64_t run() {
        const hv_message header = next();
        EXPECT_EQ(header.header.message_type, HVMSG_X64_IO_PORT_INTERCEPT);
        hv_x64_io_port_intercept_message io{};
        std::memcpy(&io, header.payload, sizeof io);
        registers_->rip = io.header.rip + io.header.instruction_length;
        registers_->dirty |= 1u << HV_X64_REGISTER_CLASS_IP;
        return io.rax;
    }
    hv_vp_register_page& registers() { return *registers_; }

private:
    static void* allocate() {
        return mmap(
            nullptr, HV_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }
    void set(std::uint32_t name, std::uint64_t value) {
        hv_register_value wide{};
        wide.reg64 = value;
        set(name, wide);
    }
    void set(std::uint32_t name, const hv_register_value& value) {
        std::array<std::byte, sizeof(hv_input_set_vp_registers) + sizeof(hv_register_assoc)>
            input{};
        hv_register_assoc assoc{};
        assoc.name = name;
        assoc.value = value;
        std::memcpy(input.data() + sizeof(hv_input_set_vp_registers), &assoc, sizeof assoc);
        vp_.rep_hypercall("set a register", HVCALL_SET_VP_REGISTERS, 1, input);
    }

    void* page_;
    File partition_;
    File vp_;
    hv_vp_register_page* registers_ = nullptr;
};

TEST(Driver, TheRegisterPageHasXmmRegistersBothWays) {
    RawMachine machine{CODE(gives_and_says_xmm)};
    (void)machine.run();
    ASSERT_EQ(machine.registers().is_valid, 1u);
    EXPECT_EQ(machine.registers().xmm_registers[5].low, 0x5678u);
    machine.registers().xmm_registers[5].low = 0x9abc;
    machine.registers().dirty |= 1u << HV_X64_REGISTER_CLASS_XMM;
    EXPECT_EQ(machine.run() & 0xffff, 0x9abcu);
}

/// Who makes the local APICs is told when a processor has nothing to do.
TEST(Driver, AHaltIsForTheParentWithoutLocalApics) {
    RawMachine machine{CODE(halts_in_real_mode), false};
    EXPECT_EQ(machine.next().header.message_type, HVMSG_X64_HALT);
    EXPECT_EQ(machine.registers().rip, 0x1001u) << "behind the instruction";
    EXPECT_EQ(machine.run() & 0xff, 7u);
}

} // namespace

} // namespace croft::guests
