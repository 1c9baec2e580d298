// SPDX-License-Identifier: Apache-2.0
#include "hv/mshv/virtual_processor.hpp"

#include "hv/error.hpp"
#include "hv/mshv/ioctl.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fmt/format.h>
#include <memory>
#include <sys/mman.h>
#include <utility>

namespace croft::hv::mshv {

namespace {

/// Registers in one hypercall: the answers of 16 bytes each have to fit into a page, and the
/// associations of 32 bytes, after a header of 16, too.
constexpr std::size_t batch_size = 120;

constexpr VpStateKind kind_of(VpState which) {
    switch (which) {
    case VpState::local_apic:
        return VpStateKind::lapic;
    case VpState::xsave:
        return VpStateKind::xsave;
    case VpState::message_page:
        return VpStateKind::simp;
    case VpState::event_flags_page:
        return VpStateKind::siefp;
    case VpState::synthetic_timers:
        break;
    }
    return VpStateKind::stimers;
}

struct FreeMemory {
    void operator()(void* memory) const { std::free(memory); }
};

/// Memory as the state requests want it: whole pages.
class PageBuffer {
public:
    explicit PageBuffer(std::size_t size)
        : size_((size + HV_PAGE_SIZE - 1) / HV_PAGE_SIZE * HV_PAGE_SIZE),
          memory_(std::aligned_alloc(HV_PAGE_SIZE, size_)) {
        if (!memory_) {
            throw HypervisorError("no memory for a processor's state", ENOMEM);
        }
        std::memset(memory_.get(), 0, size_);
    }

    [[nodiscard]] std::span<std::uint8_t> bytes() const {
        return {static_cast<std::uint8_t*>(memory_.get()), size_};
    }

private:
    std::size_t size_;
    std::unique_ptr<void, FreeMemory> memory_;
};

VpStateRequest state_request(VpState which, std::span<std::uint8_t> buffer) {
    VpStateRequest request{};
    request.type = static_cast<std::uint8_t>(kind_of(which));
    request.size = static_cast<std::uint32_t>(buffer.size());
    request.buffer = std::bit_cast<std::uint64_t>(buffer.data());
    return request;
}

/// The fixed part of HvCallGetVpRegisters and HvCallSetVpRegisters.
struct RegisterHeader {
    std::uint64_t partition_id = 0;
    std::uint32_t vp_index = 0;
    std::uint32_t vtl_and_reserved = 0;
};
static_assert(sizeof(RegisterHeader) == sizeof(hv_input_get_vp_registers));

} // namespace

MshvVirtualProcessor::MshvVirtualProcessor(File file, std::uint32_t index)
    : file_(std::move(file)),
      index_(index) {
    void* page = mmap(nullptr, HV_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file_.descriptor(),
        static_cast<off_t>(map_registers * HV_PAGE_SIZE));
    if (page != MAP_FAILED) {
        mapped_page_ = page;
        page_ = RegisterPage(static_cast<hv_vp_register_page*>(page));
    }
    // Without the page, as for an encrypted partition, hypercalls do the same more slowly.
}

MshvVirtualProcessor::~MshvVirtualProcessor() {
    if (mapped_page_ != nullptr) {
        munmap(mapped_page_, HV_PAGE_SIZE);
    }
}

RunResult MshvVirtualProcessor::run() {
    RunVp buffer;
    page_.end();
    if (ioctl(file_.descriptor(), run_vp, &buffer) == 0) {
        static_assert(sizeof(buffer.message) == sizeof(message_));
        std::memcpy(&message_, buffer.message, sizeof(message_));
        page_.begin();
        return RunResult::intercepted;
    }
    if (errno == EINTR || errno == EAGAIN) {
        return RunResult::interrupted;
    }
    const int error = errno;
    throw HypervisorError(fmt::format("the hypervisor's driver refused to run processor {}: {}",
                              index_, std::strerror(error)),
        error);
}

void MshvVirtualProcessor::load_changed_registers() {
    std::array<hv_register_assoc, RegisterPage::most_changed> changed;
    const std::size_t count = page_.take_changed(changed);
    if (count != 0) {
        call_set_registers(std::span(changed).first(count));
    }
}

void MshvVirtualProcessor::get_registers(std::span<hv_register_assoc> registers) {
    if (page_.get(registers)) {
        return;
    }
    load_changed_registers();
    while (!registers.empty()) {
        const auto batch = registers.first(std::min(registers.size(), batch_size));
        struct {
            RegisterHeader header;
            std::array<std::uint32_t, batch_size> names;
        } input{};
        std::array<hv_register_value, batch_size> values{};
        input.header.vp_index = index_;
        std::transform(batch.begin(), batch.end(), input.names.begin(),
            [](const hv_register_assoc& entry) { return entry.name; });
        const std::size_t input_size = sizeof(input.header) + batch.size() * sizeof(std::uint32_t);
        file_.rep_hypercall(fmt::format("read registers of processor {}", index_),
            HVCALL_GET_VP_REGISTERS, static_cast<std::uint16_t>(batch.size()),
            std::as_bytes(std::span(&input, 1)).first(input_size),
            std::as_writable_bytes(std::span(values).first(batch.size())));
        for (std::size_t at = 0; at < batch.size(); ++at) {
            batch[at].value = values[at];
        }
        registers = registers.subspan(batch.size());
    }
}

void MshvVirtualProcessor::set_registers(std::span<const hv_register_assoc> registers) {
    if (page_.set(registers)) {
        return;
    }
    load_changed_registers();
    call_set_registers(registers);
    const auto is_held = [](const hv_register_assoc& entry) {
        return RegisterPage::holds(entry.name);
    };
    if (std::any_of(registers.begin(), registers.end(), is_held)) {
        page_.end();
    }
}

CoreRegisters MshvVirtualProcessor::core_registers() {
    const auto registers = page_.core();
    return registers ? *registers : VirtualProcessor::core_registers();
}

void MshvVirtualProcessor::set_core_registers(
    std::span<const std::uint64_t, 16> general, std::uint64_t rip, std::uint64_t rflags) {
    if (!page_.set_core(general, rip, rflags)) {
        VirtualProcessor::set_core_registers(general, rip, rflags);
    }
}

void MshvVirtualProcessor::set_rip(std::uint64_t rip, std::optional<std::uint64_t> rax) {
    if (!page_.set_rip(rip, rax)) {
        VirtualProcessor::set_rip(rip, rax);
    }
}

void MshvVirtualProcessor::call_set_registers(std::span<const hv_register_assoc> registers) {
    while (!registers.empty()) {
        const auto batch = registers.first(std::min(registers.size(), batch_size));
        struct {
            RegisterHeader header;
            std::array<hv_register_assoc, batch_size> elements;
        } input{};
        static_assert(sizeof(input) <= HV_PAGE_SIZE);
        input.header.vp_index = index_;
        std::copy(batch.begin(), batch.end(), input.elements.begin());
        const std::size_t input_size =
            sizeof(input.header) + batch.size() * sizeof(hv_register_assoc);
        file_.rep_hypercall(fmt::format("set {} registers of processor {}, the first {:#x}",
                                batch.size(), index_, std::uint32_t{batch.front().name}),
            HVCALL_SET_VP_REGISTERS, static_cast<std::uint16_t>(batch.size()),
            std::as_bytes(std::span(&input, 1)).first(input_size));
        registers = registers.subspan(batch.size());
    }
}

std::vector<std::uint8_t> MshvVirtualProcessor::get_state(VpState which) {
    load_changed_registers();
    PageBuffer buffer(HV_PAGE_SIZE);
    VpStateRequest request = state_request(which, buffer.bytes());
    if (ioctl(file_.descriptor(), get_vp_state, &request) < 0) {
        // The driver says how large the buffer should have been.
        if (errno != EINVAL || request.size <= HV_PAGE_SIZE) {
            const int error = errno;
            throw HypervisorError(
                fmt::format("the hypervisor's driver refused to read the state of "
                            "processor {}: {}",
                    index_, std::strerror(error)),
                error);
        }
        buffer = PageBuffer(request.size);
        request = state_request(which, buffer.bytes());
        file_.request(fmt::format("read the state of processor {}", index_), get_vp_state,
            static_cast<void*>(&request));
    }
    const auto bytes = buffer.bytes();
    const std::size_t size = std::min<std::size_t>(request.size, bytes.size());
    return {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)};
}

void MshvVirtualProcessor::set_state(VpState which, std::span<const std::uint8_t> state) {
    load_changed_registers();
    const PageBuffer buffer(state.size());
    std::copy(state.begin(), state.end(), buffer.bytes().begin());
    VpStateRequest request = state_request(which, buffer.bytes());
    file_.request(fmt::format("set the state of processor {}", index_), set_vp_state,
        static_cast<void*>(&request));
}

Translation MshvVirtualProcessor::translate(std::uint64_t gva, std::uint64_t flags) {
    load_changed_registers();
    hv_input_translate_virtual_address input{};
    input.vp_index = index_;
    input.control_flags = flags;
    input.gva_page = gva >> HV_PAGE_SHIFT;
    hv_output_translate_virtual_address output{};
    file_.call(fmt::format("translate an address of processor {}", index_),
        HVCALL_TRANSLATE_VIRTUAL_ADDRESS, input, output);
    return {static_cast<hv_translate_gva_result_code>(output.result_code),
        (output.gpa_page << HV_PAGE_SHIFT) | (gva & (HV_PAGE_SIZE - 1))};
}

std::vector<std::uint32_t> MshvVirtualProcessor::cpuid(std::uint32_t leaf, std::uint32_t subleaf) {
    struct {
        std::uint64_t partition_id;
        std::uint32_t vp_index;
        std::uint32_t flags;
        std::uint64_t reserved;
        std::uint32_t eax;
        std::uint32_t ecx;
        std::uint64_t xfem;
        std::uint64_t xss;
    } input{};
    static_assert(
        sizeof(input) == sizeof(hv_input_get_vp_cpuid_values) + sizeof(hv_cpuid_leaf_info));
    input.vp_index = index_;
    input.flags =
        HV_GET_VP_CPUID_VALUES_USE_VP_XFEM_XSS | HV_GET_VP_CPUID_VALUES_APPLY_REGISTERED_VALUES;
    input.eax = leaf;
    input.ecx = subleaf;
    std::array<std::uint32_t, 4> output{};
    file_.rep_hypercall(fmt::format("read CPUID of processor {}", index_),
        HVCALL_GET_VP_CPUID_VALUES, 1, std::as_bytes(std::span(&input, 1)),
        std::as_writable_bytes(std::span(output)));
    return {output.begin(), output.end()};
}

} // namespace croft::hv::mshv
