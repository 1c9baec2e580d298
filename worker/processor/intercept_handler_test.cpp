// SPDX-License-Identifier: Apache-2.0
#include "worker/processor/intercept_handler.hpp"

#include "vdev/bus.hpp"
#include "worker/fake_hypervisor.hpp"
#include "worker/processor/processor_failure.hpp"

#include <gtest/gtest.h>

namespace croft::worker {
namespace {

/// A device at port 0x10 and at one page of addresses.
class Device final : public vdev::PortHandler, public vdev::MmioHandler {
public:
    std::uint32_t port_read(std::uint16_t, unsigned) override { return 0xaabb'ccdd; }
    void port_write(std::uint16_t, unsigned, std::uint32_t value) override {
        written.push_back(value);
    }
    std::uint64_t mmio_read(std::uint64_t offset, unsigned) override {
        return 0x1234'5600 + offset;
    }
    void mmio_write(std::uint64_t, unsigned, std::uint64_t value) override {
        written.push_back(value);
    }
    std::vector<std::uint64_t> written;
};

constexpr std::uint64_t device_gpa = 0xfec0'0000;

class InterceptHandlerTest : public testing::Test {
protected:
    InterceptHandler::Next handle(const hv_message& message) {
        processor.set_message(message);
        return handler.handle(processor);
    }
    void expect_failure(const hv_message& message, const std::string& word) {
        try {
            handle(message);
            FAIL() << "went on; expected a failure with '" << word << "'";
        } catch (const ProcessorFailure& failure) {
            EXPECT_NE(std::string(failure.what()).find(word), std::string::npos) << failure.what();
            EXPECT_EQ(std::string(failure.what()).find('\n'), std::string::npos);
            EXPECT_GT(failure.state().size(), 5U);
        }
    }

    vdev::Bus bus;
    Device device;
    vdev::Claim ports = bus.claim_ports("device", 0x10, 4, 4, device);
    vdev::Claim addresses = bus.claim_mmio("device", device_gpa, 0x1000, device);
    GuestMemory memory{{{0, 2 * mebibyte}}};
    InterceptCounters counters;
    std::vector<unsigned> ended;
    struct Posted {
        std::uint32_t connection;
        std::uint32_t type;
        std::vector<std::uint8_t> payload;
    };
    std::vector<Posted> posted;
    std::uint16_t post_status = HV_STATUS_SUCCESS;
    std::vector<unsigned> free_slots;
    InterceptHandler handler{
        {bus, memory, [this](std::uint8_t vector) { ended.push_back(vector); },
            [this](std::uint32_t connection, std::uint32_t type,
                std::span<const std::uint8_t> payload) {
                posted.push_back({connection, type, {payload.begin(), payload.end()}});
                return post_status;
            },
            [this](std::uint16_t sints) {
                free_slots.push_back(sints);
            }},
        counters};
    FakeProcessor processor{0};
};

TEST_F(InterceptHandlerTest, AnswersPortAccessesOfEachWidth) {
    handle(make_port_access(0x10, 1, HV_INTERCEPT_ACCESS_READ, 0x1111'1111'1111'1111));
    EXPECT_EQ(processor.value(HV_X64_REGISTER_RAX), 0x1111'1111'1111'11ddU);
    EXPECT_EQ(processor.value(HV_X64_REGISTER_RIP), 0x1001U);
    handle(make_port_access(0x10, 2, HV_INTERCEPT_ACCESS_READ, 0x1111'1111'1111'1111));
    EXPECT_EQ(processor.value(HV_X64_REGISTER_RAX), 0x1111'1111'1111'ccddU);
    handle(make_port_access(0x10, 4, HV_INTERCEPT_ACCESS_READ, 0x1111'1111'1111'1111));
    EXPECT_EQ(processor.value(HV_X64_REGISTER_RAX), 0xaabb'ccddU);
    handle(make_port_access(0x10, 2, HV_INTERCEPT_ACCESS_WRITE, 0x4433'2211));
    EXPECT_EQ(device.written, (std::vector<std::uint64_t>{0x2211}));
    EXPECT_EQ(counters.ports, 4U);
}

TEST_F(InterceptHandlerTest, RepeatsStringAccesses) {
    ASSERT_TRUE(memory.write(0x2000, std::array<std::uint8_t, 2>{7, 8}));
    hv_x64_io_port_intercept_message message{};
    message.header = make_header(2, HV_INTERCEPT_ACCESS_WRITE);
    message.port_number = 0x10;
    message.access_size = 1;
    message.string_op = 1;
    message.rep_prefix = 1;
    message.instruction_byte_count = 2;
    message.instruction_bytes[0] = 0xf3;
    message.instruction_bytes[1] = 0x6e;
    processor.set_value(HV_X64_REGISTER_RDX, 0x10);
    processor.set_value(HV_X64_REGISTER_RSI, 0x2000);
    processor.set_value(HV_X64_REGISTER_RCX, 2);
    handle(make_message(HVMSG_X64_IO_PORT_INTERCEPT, message));
    EXPECT_EQ(device.written, (std::vector<std::uint64_t>{7, 8}));
    EXPECT_EQ(processor.value(HV_X64_REGISTER_RIP), 0x1002U);
    EXPECT_EQ(processor.value(HV_X64_REGISTER_RCX), 0U);
}

TEST_F(InterceptHandlerTest, AnswersMemoryAccessesWithoutTranslating) {
    constexpr std::uint64_t gva = 0xffff'ffff'ff5f'b010; // a kernel's mapping
    processor.set_value(HV_X64_REGISTER_RBX, gva);
    handle(make_memory_access(device_gpa + 0x10, HV_INTERCEPT_ACCESS_READ, {0x8b, 0x03}, gva));
    EXPECT_EQ(processor.value(HV_X64_REGISTER_RAX), 0x1234'5610U);
    EXPECT_EQ(processor.value(HV_X64_REGISTER_RIP), 0x1002U);
    processor.set_value(HV_X64_REGISTER_RAX, 0x99);
    handle(make_memory_access(device_gpa + 0x10, HV_INTERCEPT_ACCESS_WRITE, {0x89, 0x03}, gva));
    EXPECT_EQ(device.written, (std::vector<std::uint64_t>{0x99}));
    EXPECT_EQ(processor.translations, 0U);
}

/// The processor has found that the guest may read there.
TEST_F(InterceptHandlerTest, WritesNotWhereAReadHasLed) {
    constexpr std::uint64_t gva = 0x7000'0000;
    processor.set_value(HV_X64_REGISTER_RBX, gva);
    processor.translator = [](std::uint64_t) {
        return hv::Translation{HV_TRANSLATE_GVA_PRIVILEGE_VIOLATION, 0};
    };
    handle(make_memory_access(device_gpa, HV_INTERCEPT_ACCESS_READ, {0x89, 0x03}, gva));
    EXPECT_TRUE(device.written.empty());
    const auto pending = processor.registers[HV_REGISTER_PENDING_INTERRUPTION].pending_interruption;
    EXPECT_EQ(pending.interruption_vector, 14U);
    EXPECT_EQ(pending.error_code, 3U);
}

TEST_F(InterceptHandlerTest, RunsAgainWhatAnotherProcessorHasRewritten) {
    const hv_message message =
        make_memory_access(device_gpa, HV_INTERCEPT_ACCESS_READ, {0x0f, 0xa2});
    EXPECT_EQ(handle(message), InterceptHandler::Next::run);
    processor.set_value(HV_X64_REGISTER_RBX, device_gpa + 0x1000); // no address of the device's
    EXPECT_EQ(handle(make_memory_access(device_gpa, HV_INTERCEPT_ACCESS_WRITE, {0x89, 0x03})),
        InterceptHandler::Next::run);
    EXPECT_EQ(processor.value(HV_X64_REGISTER_RIP), 0U) << "nothing was set";
    for (unsigned i = 2; i < 100; ++i) {
        handle(message);
    }
    processor.set_value(HV_X64_REGISTER_RBX, device_gpa);
    handle(make_memory_access(device_gpa, HV_INTERCEPT_ACCESS_READ, {0x8b, 0x03}));
    for (unsigned i = 0; i < 100; ++i) {
        handle(message);
    }
    expect_failure(message, "doesn't make");
}

TEST_F(InterceptHandlerTest, TranslatesWhatHasTwoAddresses) {
    processor.set_value(HV_X64_REGISTER_RSI, 0x7000'0000);
    processor.set_value(HV_X64_REGISTER_RDI, 0x3000);
    processor.translator = [](std::uint64_t gva) {
        return gva == 0x7000'0000 ? hv::Translation{HV_TRANSLATE_GVA_GPA_UNMAPPED, device_gpa}
                                  : hv::Translation{HV_TRANSLATE_GVA_SUCCESS, gva};
    };
    handle(make_memory_access(device_gpa, HV_INTERCEPT_ACCESS_READ, {0xa5})); // movsd
    EXPECT_EQ(memory.load<std::uint32_t>(0x3000), 0x1234'5600U);
}

TEST_F(InterceptHandlerTest, FetchesAnInstructionThatTheMessageLacks) {
    ASSERT_TRUE(memory.write(0x1000, std::array<std::uint8_t, 2>{0x89, 0x03}));
    processor.set_value(HV_X64_REGISTER_RBX, device_gpa);
    processor.set_value(HV_X64_REGISTER_RAX, 5);
    handle(make_memory_access(device_gpa, HV_INTERCEPT_ACCESS_WRITE, {}));
    EXPECT_EQ(device.written, (std::vector<std::uint64_t>{5}));
}

TEST_F(InterceptHandlerTest, InjectsAPageFaultThatTheInstructionHas) {
    processor.set_value(HV_X64_REGISTER_RSI, 0x5000);
    processor.translator = [](std::uint64_t) {
        return hv::Translation{HV_TRANSLATE_GVA_PAGE_NOT_PRESENT, 0};
    };
    handle(make_memory_access(device_gpa, HV_INTERCEPT_ACCESS_READ, {0xa5}));
    const auto pending = processor.registers[HV_REGISTER_PENDING_INTERRUPTION].pending_interruption;
    EXPECT_EQ(pending.interruption_pending, 1U);
    EXPECT_EQ(pending.interruption_vector, 14U);
    EXPECT_EQ(pending.deliver_error_code, 1U);
    EXPECT_EQ(processor.value(HV_X64_REGISTER_CR2), 0x5000U);
    EXPECT_EQ(processor.value(HV_X64_REGISTER_RIP), 0x1000U);
}

TEST_F(InterceptHandlerTest, EndsTheInterruptShadow) {
    hv_message message = make_port_access(0x10, 1, HV_INTERCEPT_ACCESS_READ, 0);
    hv_x64_io_port_intercept_message payload{};
    std::memcpy(&payload, message.payload, sizeof(payload));
    payload.header.execution_state.interrupt_shadow = 1;
    processor.set_value(HV_REGISTER_INTERRUPT_STATE, 3);
    handle(make_message(HVMSG_X64_IO_PORT_INTERCEPT, payload));
    EXPECT_EQ(processor.value(HV_REGISTER_INTERRUPT_STATE), 2U);
}

TEST_F(InterceptHandlerTest, GivesAnUnknownMsrAGeneralProtectionFault) {
    hv_x64_msr_intercept_message message{};
    message.header = make_header(2, HV_INTERCEPT_ACCESS_READ);
    handle(make_message(HVMSG_X64_MSR_INTERCEPT, message));
    const auto pending = processor.registers[HV_REGISTER_PENDING_INTERRUPTION].pending_interruption;
    EXPECT_EQ(pending.interruption_vector, 13U);
    EXPECT_EQ(pending.interruption_type, std::uint32_t{HV_X64_PENDING_EXCEPTION});
    EXPECT_EQ(pending.error_code, 0U);
}

TEST_F(InterceptHandlerTest, AnswersCpuidWithWhatTheHypervisorWouldSay) {
    hv_x64_cpuid_intercept_message message{};
    message.header = make_header(2, HV_INTERCEPT_ACCESS_EXECUTE);
    message.default_result_rbx = 0x42;
    handle(make_message(HVMSG_X64_CPUID_INTERCEPT, message));
    EXPECT_EQ(processor.value(HV_X64_REGISTER_RBX), 0x42U);
    EXPECT_EQ(processor.value(HV_X64_REGISTER_RIP), 0x1002U);
}

TEST_F(InterceptHandlerTest, PassesOnTheEndOfAnInterrupt) {
    handle(make_message(HVMSG_X64_APIC_EOI, hv_x64_apic_eoi_message{0, 0x41}));
    EXPECT_EQ(ended, (std::vector<unsigned>{0x41}));
}

TEST_F(InterceptHandlerTest, KnowsNoConnections) {
    hv_x64_hypercall_intercept_message message{};
    message.header = make_header(3, HV_INTERCEPT_ACCESS_EXECUTE);
    message.rcx = HVCALL_SIGNAL_EVENT | (1U << 16);
    handle(make_message(HVMSG_HYPERCALL_INTERCEPT, message));
    EXPECT_EQ(processor.value(HV_X64_REGISTER_RAX), HV_STATUS_INVALID_CONNECTION_ID);
    EXPECT_EQ(processor.value(HV_X64_REGISTER_RIP), 0x1003U);
    message.rcx = 0x7777;
    handle(make_message(HVMSG_HYPERCALL_INTERCEPT, message));
    EXPECT_EQ(processor.value(HV_X64_REGISTER_RAX), HV_STATUS_INVALID_HYPERCALL_CODE);
}

TEST_F(InterceptHandlerTest, TakesMessages) {
    const auto post = [&](std::uint64_t control, std::uint64_t input) {
        hv_x64_hypercall_intercept_message message{};
        message.header = make_header(3, HV_INTERCEPT_ACCESS_EXECUTE);
        message.rcx = control;
        message.rdx = input;
        handle(make_message(HVMSG_HYPERCALL_INTERCEPT, message));
        return processor.value(HV_X64_REGISTER_RAX);
    };
    hv_input_post_message call{};
    call.connection_id = 4;
    call.message_type = 1;
    call.payload_size = 3;
    std::memcpy(call.payload, "abc", 3);
    const auto put = [&](std::uint64_t gpa) {
        std::array<std::uint8_t, sizeof(call)> bytes;
        std::memcpy(bytes.data(), &call, sizeof(call));
        ASSERT_TRUE(memory.write(gpa, bytes));
    };
    put(0x2f00);
    EXPECT_EQ(post(HVCALL_POST_MESSAGE, 0x2f00), HV_STATUS_SUCCESS);
    ASSERT_EQ(posted.size(), 1U);
    EXPECT_EQ(posted[0].connection, 4U);
    EXPECT_EQ(posted[0].type, 1U);
    EXPECT_EQ(posted[0].payload, (std::vector<std::uint8_t>{'a', 'b', 'c'}));
    post_status = HV_STATUS_INSUFFICIENT_BUFFERS;
    EXPECT_EQ(post(HVCALL_POST_MESSAGE, 0x2f00), HV_STATUS_INSUFFICIENT_BUFFERS);

    posted.clear();
    put(0x3000);
    EXPECT_EQ(post(HVCALL_POST_MESSAGE, 0x2f08), HV_STATUS_INVALID_ALIGNMENT); // into the next page
    EXPECT_EQ(post(HVCALL_POST_MESSAGE, 0x3004), HV_STATUS_INVALID_ALIGNMENT);
    EXPECT_EQ(post(HVCALL_POST_MESSAGE, device_gpa), HV_STATUS_INVALID_HYPERCALL_INPUT);
    EXPECT_EQ(
        post(HVCALL_POST_MESSAGE | HV_HYPERCALL_FAST, 0x3000), HV_STATUS_INVALID_HYPERCALL_INPUT);
    call.payload_size = 241;
    put(0x3000);
    EXPECT_EQ(post(HVCALL_POST_MESSAGE, 0x3000), HV_STATUS_INVALID_PARAMETER);
    EXPECT_TRUE(posted.empty());
}

TEST_F(InterceptHandlerTest, HearsOfFreeMessageSlots) {
    hv_x64_sint_deliverable_message message{};
    message.deliverable_sints = 1U << 2;
    EXPECT_EQ(
        handle(make_message(HVMSG_SYNIC_SINT_DELIVERABLE, message)), InterceptHandler::Next::run);
    EXPECT_EQ(free_slots, std::vector{1U << 2});
    EXPECT_TRUE(processor.registers.empty()) << "the guest goes on where it was";
}

TEST_F(InterceptHandlerTest, LetsAHaltedProcessorWait) {
    EXPECT_EQ(
        handle(make_message(HVMSG_X64_HALT, hv_x64_halt_message{})), InterceptHandler::Next::idle);
}

TEST_F(InterceptHandlerTest, SaysWhyAGuestCannotGoOn) {
    expect_failure(
        make_message(HVMSG_UNRECOVERABLE_EXCEPTION, hv_x64_unrecoverable_exception_message{}),
        "triple fault");
    expect_failure(make_memory_access(0x4000'0000, HV_INTERCEPT_ACCESS_EXECUTE, {}), "jump");
    expect_failure(make_memory_access(device_gpa, HV_INTERCEPT_ACCESS_READ, {0xf7, 0x33}), "div");
    expect_failure(make_memory_access(0x1000, HV_INTERCEPT_ACCESS_READ, {0x8b, 0x03}), "host");
    expect_failure(make_message(0x1234, hv_x64_halt_message{}), "0x1234");
}

} // namespace
} // namespace croft::worker
