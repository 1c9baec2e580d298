// SPDX-License-Identifier: Apache-2.0
// The same with KVM's means: a port write to an ioeventfd, and an irqfd back.
#include "bench/signal/machine.hpp"
#include "tests/guests/guest_code.hpp"
#include "tests/guests/guest_machine.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdexcept>
#include <string>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

GUEST(signals_by_port)
GUEST(takes_answer)

namespace croft::bench {

namespace {

constexpr std::uint64_t code_gpa = 0x2000;
constexpr std::uint64_t msrs_gpa = 0x3000;
constexpr std::uint64_t stack_gpa = 0x7000;
constexpr std::uint64_t idt_gpa = 0x9000;
constexpr std::uint64_t handler_gpa = 0xc000;
constexpr std::uint64_t gdt_gpa = 0xe000;
constexpr std::uint64_t page_tables_gpa = 0x10000;
constexpr std::uint32_t x2apic_spurious = 0x80f;
constexpr std::uint32_t pv_eoi = 0x4b564d04; // MSR_KVM_PV_EOI_EN

// The header's own of these have another size in C++ than in C, and their requests' numbers depend
// on that.

struct MsiRouting { // kvm_irq_routing
    std::uint32_t count;
    std::uint32_t flags;
    kvm_irq_routing_entry entry;
};
struct Cpuid { // kvm_cpuid2
    static constexpr std::uint32_t most = 128;
    std::uint32_t count;
    std::uint32_t padding;
    kvm_cpuid_entry2 entries[most];
};
constexpr unsigned long set_gsi_routing = _IOC(_IOC_WRITE, KVMIO, 0x6a, 8);
constexpr unsigned long get_supported_cpuid = _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x05, 8);
constexpr unsigned long set_cpuid2 = _IOC(_IOC_WRITE, KVMIO, 0x90, 8);

int check(int result, const char* what) {
    if (result < 0) {
        throw std::runtime_error(std::string{what} + ": " + std::strerror(errno));
    }
    return result;
}

kvm_segment segment(std::uint16_t selector, std::uint8_t type, bool is_code) {
    kvm_segment result{};
    result.limit = 0xffffffff;
    result.selector = selector;
    result.type = type;
    result.present = 1;
    result.s = 1;
    result.g = 1;
    result.l = is_code;
    result.db = !is_code;
    return result;
}

class KvmMachine final : public SignalMachine {
public:
    KvmMachine(int event, std::uint32_t rounds) : rounds_{rounds} {
        kvm_ = check(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
        vm_ = check(ioctl(kvm_, KVM_CREATE_VM, 0), "create a VM");
        // Local APICs in the kernel, and nothing else.
        kvm_enable_cap split{};
        split.cap = KVM_CAP_SPLIT_IRQCHIP;
        split.args[0] = 24;
        check(ioctl(vm_, KVM_ENABLE_CAP, &split), "local APICs");
        map_memory();
        vcpu_ = check(ioctl(vm_, KVM_CREATE_VCPU, 0), "create a processor");
        connect(event);
        load();
        set_cpuid();
        set_registers();
        std::uint64_t offset = 0;
        kvm_device_attr attribute{};
        attribute.group = KVM_VCPU_TSC_CTRL;
        attribute.attr = KVM_VCPU_TSC_OFFSET;
        attribute.addr = reinterpret_cast<std::uint64_t>(&offset);
        check(ioctl(vcpu_, KVM_GET_DEVICE_ATTR, &attribute), "offset of the guest's counter");
        offset_ = offset;
    }
    ~KvmMachine() override {
        munmap(memory_, memory_size);
        for (const int fd : {answer_, vcpu_, vm_, kvm_}) {
            close(fd);
        }
    }

    void run() override {
        const auto size = static_cast<std::size_t>(
            check(ioctl(kvm_, KVM_GET_VCPU_MMAP_SIZE, 0), "size of the run page"));
        void* const at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_, 0);
        if (at == MAP_FAILED) {
            throw std::runtime_error("cannot map the run page");
        }
        const kvm_run& page = *static_cast<const kvm_run*>(at);
        check(ioctl(vcpu_, KVM_RUN, 0), "run");
        if (page.exit_reason != KVM_EXIT_IO || page.io.port != guests::GuestMachine::report_port) {
            throw std::runtime_error(
                "the guest was stopped by exit " + std::to_string(page.exit_reason));
        }
        munmap(at, size);
    }
    void answer() override {
        const std::uint64_t one = 1;
        if (write(answer_, &one, sizeof one) != sizeof one) {
            throw std::runtime_error("cannot write the irqfd");
        }
    }
    [[nodiscard]] std::uint64_t clock_offset() override { return offset_; }
    [[nodiscard]] std::span<const GuestRound> rounds() const override {
        return {reinterpret_cast<const GuestRound*>(memory_ + first_round_gpa), rounds_};
    }

private:
    void map_memory() {
        void* const at =
            mmap(nullptr, memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) {
            throw std::runtime_error("no memory for the guest");
        }
        memory_ = static_cast<std::uint8_t*>(at);
        kvm_userspace_memory_region region{};
        region.memory_size = memory_size;
        region.userspace_addr = reinterpret_cast<std::uint64_t>(memory_);
        check(ioctl(vm_, KVM_SET_USER_MEMORY_REGION, &region), "map memory");
    }

    void connect(int event) {
        kvm_ioeventfd bell{};
        bell.addr = doorbell_port;
        bell.len = 4;
        bell.fd = event;
        bell.flags = KVM_IOEVENTFD_FLAG_PIO;
        check(ioctl(vm_, KVM_IOEVENTFD, &bell), "ioeventfd");

        answer_ = check(eventfd(0, EFD_CLOEXEC), "eventfd");
        MsiRouting routing{};
        routing.count = 1;
        routing.entry.type = KVM_IRQ_ROUTING_MSI;
        routing.entry.u.msi.address_lo = 0xfee00000;
        routing.entry.u.msi.data = vector;
        check(ioctl(vm_, set_gsi_routing, &routing), "route the interrupt");
        kvm_irqfd line{};
        line.fd = static_cast<std::uint32_t>(answer_);
        check(ioctl(vm_, KVM_IRQFD, &line), "irqfd");
    }

    template <class T>
    void store(std::uint64_t gpa, const T& value) {
        std::memcpy(memory_ + gpa, &value, sizeof value);
    }

    void load() {
        const auto code = CODE(signals_by_port);
        const auto handler = CODE(takes_answer);
        std::memcpy(memory_ + code_gpa, code.data(), code.size());
        std::memcpy(memory_ + handler_gpa, handler.data(), handler.size());
        store(msrs_gpa, std::uint64_t{x2apic_spurious});
        store(msrs_gpa + 8, std::uint64_t{0x1ff});
        store(msrs_gpa + 16, std::uint64_t{pv_eoi});
        store(msrs_gpa + 24, eoi_assist_gpa | 1);
        store(gdt_gpa + 8, std::uint64_t{0x00af9b000000ffff});
        store(gdt_gpa + 16, std::uint64_t{0x00cf93000000ffff});
        store(idt_gpa + vector * 16u, 0x8e0000080000 | handler_gpa);
        store(page_tables_gpa, page_tables_gpa + 0x1003);
        store(page_tables_gpa + 0x1000, page_tables_gpa + 0x2003);
        store(page_tables_gpa + 0x2000, std::uint64_t{0x83});
        store(page_tables_gpa + 0x2008, std::uint64_t{0x200083});
    }

    void set_cpuid() {
        Cpuid cpuid{};
        cpuid.count = Cpuid::most;
        check(ioctl(kvm_, get_supported_cpuid, &cpuid), "CPUID");
        check(ioctl(vcpu_, set_cpuid2, &cpuid), "set CPUID");
    }

    void set_registers() {
        kvm_sregs special{};
        check(ioctl(vcpu_, KVM_GET_SREGS, &special), "registers");
        const kvm_segment data = segment(0x10, 3, false);
        special.cs = segment(0x08, 11, true);
        special.ds = special.es = special.ss = special.fs = special.gs = data;
        special.gdt = {.base = gdt_gpa, .limit = 23, .padding = {}};
        special.idt = {.base = idt_gpa, .limit = 0xfff, .padding = {}};
        special.cr0 = 0x80000011;
        special.cr3 = page_tables_gpa;
        special.cr4 = 0x620;
        special.efer = 0x500;
        special.apic_base = 0xfee00d00;
        check(ioctl(vcpu_, KVM_SET_SREGS, &special), "set special registers");
        kvm_regs general{};
        general.rip = code_gpa;
        general.rsp = stack_gpa;
        general.rdi = msrs_gpa;
        general.rsi = rounds_;
        general.rflags = 2;
        check(ioctl(vcpu_, KVM_SET_REGS, &general), "set registers");
    }

    std::uint32_t rounds_;
    int kvm_ = -1;
    int vm_ = -1;
    int vcpu_ = -1;
    int answer_ = -1;
    std::uint8_t* memory_ = nullptr;
    std::uint64_t offset_ = 0;
};

} // namespace

std::unique_ptr<SignalMachine> make_kvm_machine(int event, std::uint32_t rounds) {
    return std::make_unique<KvmMachine>(event, rounds);
}

} // namespace croft::bench
