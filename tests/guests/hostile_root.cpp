// SPDX-License-Identifier: Apache-2.0
#include "tests/guests/hostile_root.hpp"

#include "abi/hypercall.h"
#include "abi/partition.h"
#include "abi/register.h"
#include "hv/mshv/ioctl.hpp"

#include <algorithm>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <pthread.h>
#include <stdexcept>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace croft::guests {

namespace mshv = hv::mshv;

namespace {

constexpr std::uint64_t page = 4096;

/// What the driver passes on for a partition.
constexpr auto passed_on =
    std::to_array<unsigned>({HVCALL_GET_PARTITION_PROPERTY, HVCALL_GET_PARTITION_PROPERTY_EX,
        HVCALL_SET_PARTITION_PROPERTY, HVCALL_INSTALL_INTERCEPT, HVCALL_GET_VP_REGISTERS,
        HVCALL_SET_VP_REGISTERS, HVCALL_TRANSLATE_VIRTUAL_ADDRESS, HVCALL_CLEAR_VIRTUAL_INTERRUPT,
        HVCALL_ASSERT_VIRTUAL_INTERRUPT, HVCALL_GET_GPA_PAGES_ACCESS_STATES,
        HVCALL_SIGNAL_EVENT_DIRECT, HVCALL_POST_MESSAGE_DIRECT, HVCALL_GET_VP_CPUID_VALUES});

constexpr std::array register_ranges{HV_REGISTER_EXPLICIT_SUSPEND, HV_REGISTER_PENDING_INTERRUPTION,
    HV_X64_REGISTER_RAX, HV_X64_REGISTER_CR0, HV_X64_REGISTER_DR0, HV_X64_REGISTER_ES,
    HV_X64_REGISTER_IDTR, HV_X64_REGISTER_XMM0, HV_X64_REGISTER_FP_MMX0, HV_X64_REGISTER_EFER,
    HV_X64_REGISTER_XMM_CONTROL_STATUS, HV_X64_REGISTER_MSR_MTRR_CAP, HV_REGISTER_SINT0,
    HV_REGISTER_SIMP, HV_REGISTER_STIMER0_CONFIG, HV_X64_REGISTER_HYPERCALL,
    HV_REGISTER_GUEST_OS_ID, HV_REGISTER_REFERENCE_TSC, HV_REGISTER_VP_ASSIST_PAGE,
    HV_REGISTER_GUEST_CRASH_P0, HV_X64_REGISTER_XSS, HV_X64_REGISTER_TSC_AUX, HV_X64_REGISTER_LSTAR,
    HV_REGISTER_INTERNAL_ACTIVITY_STATE};

constexpr std::array properties{HV_PARTITION_PROPERTY_PRIVILEGE_FLAGS,
    HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES, HV_PARTITION_PROPERTY_REFERENCE_TIME,
    HV_PARTITION_PROPERTY_UNIMPLEMENTED_MSR_ACTION, HV_PARTITION_PROPERTY_CPU_RESERVE,
    HV_PARTITION_PROPERTY_CPU_CAP, HV_PARTITION_PROPERTY_CPU_WEIGHT,
    HV_PARTITION_VP_PROPERTY_SCHEDULING_AFFINITY_SET, HV_PARTITION_PROPERTY_PROXIMITY_DOMAIN};

} // namespace

class HostileRoot::Thread {
public:
    Thread(HostileRoot& root, std::uint64_t seed) : root_{root}, random_{seed} {}

    void run() {
        while (!root_.ends_) {
            step();
        }
    }
    [[nodiscard]] const Counts& counts() const { return counts_; }

private:
    std::uint64_t below(std::uint64_t end) { return random_() % end; }
    bool one_in(std::uint64_t n) { return below(n) == 0; }
    template <class T, std::size_t N>
    T one_of(const std::array<T, N>& all) {
        return all[below(N)];
    }

    std::uint64_t value() {
        switch (below(6)) {
        case 0:
            return 0;
        case 1:
            return ~std::uint64_t{0} - below(3);
        case 2:
            return std::uint64_t{1} << below(64);
        case 3:
            return below(64);
        case 4:
            return below(1024) * page + below(2);
        default:
            return random_();
        }
    }
    template <class T>
    T anything() {
        T result;
        std::vector<std::uint64_t> words((sizeof result + 7) / 8);
        std::generate(words.begin(), words.end(), [this] { return value(); });
        std::memcpy(&result, words.data(), sizeof result);
        return result;
    }

    int ask(int fd, unsigned long request, void* argument) {
        const int result = ioctl(fd, request, argument);
        ++counts_.calls;
        counts_.granted += result >= 0 ? 1 : 0;
        return result;
    }

    Slot& slot() { return root_.slots_[below(slots)]; }

    static void replace(std::atomic<int>& place, int fd) {
        const int before = place.exchange(fd);
        if (before >= 0) {
            close(before);
        }
    }

    void create_partition() {
        Slot& one = slot();
        replace(one.vp, -1);
        auto arguments = anything<mshv::CreatePartition>();
        if (!one_in(4)) {
            arguments = {};
            arguments.flags = 7 & random_();
        }
        const int fd = ask(root_.device_, mshv::create_partition, &arguments);
        replace(one.partition, fd);
        if (fd >= 0 && !one_in(3)) {
            initialize(fd);
        }
    }

    void initialize(int fd) {
        if (!one_in(4)) {
            struct {
                hv_input_set_partition_property property;
            } input{};
            input.property.property_code = HV_PARTITION_PROPERTY_SYNTHETIC_PROC_FEATURES;
            input.property.property_value = ~std::uint64_t{0};
            (void)hypercall(fd, HVCALL_SET_PARTITION_PROPERTY, 0, &input, sizeof input);
        }
        (void)ask(fd, mshv::initialize_partition, nullptr);
    }

    void create_vp() {
        Slot& one = slot();
        mshv::CreateVp arguments{
            .vp_index = static_cast<std::uint32_t>(one_in(8) ? value() : below(3))};
        const int fd = ask(one.partition, mshv::create_vp, &arguments);
        if (fd >= 0) {
            replace(one.vp, fd);
        }
    }

    void map_memory() {
        mshv::UserMemoryRegion region{};
        const std::uint64_t first = below(memory_size / page);
        region.size = (1 + below(memory_size / page - first)) * page;
        region.user_address = reinterpret_cast<std::uint64_t>(root_.memory_) + first * page;
        region.guest_page = one_in(4) ? value() : below(2048);
        region.flags = static_cast<std::uint8_t>(below(8));
        if (one_in(8)) {
            region = anything<mshv::UserMemoryRegion>();
        }
        (void)ask(slot().partition, mshv::set_guest_memory, &region);
    }

    void ask_for_access() {
        std::array<std::uint64_t, 64> bitmap{};
        auto arguments = anything<mshv::PageAccessBitmap>();
        std::memset(arguments.reserved, 0, sizeof arguments.reserved);
        arguments.access_type = static_cast<std::uint8_t>(below(3));
        arguments.access_operation = static_cast<std::uint8_t>(below(4));
        arguments.page_count = 1 + below(64 * bitmap.size());
        arguments.first_page = one_in(2) ? value() : below(4096);
        arguments.bitmap = reinterpret_cast<std::uint64_t>(bitmap.data());
        (void)ask(slot().partition, mshv::get_page_access, &arguments);
    }

    int hypercall(int fd, unsigned code, unsigned reps, const void* input, std::size_t input_size) {
        std::array<std::byte, page> output;
        mshv::RootHypercall call{};
        call.code = static_cast<std::uint16_t>(code);
        call.reps = static_cast<std::uint16_t>(reps);
        call.input = reinterpret_cast<std::uint64_t>(input);
        call.input_size = static_cast<std::uint16_t>(input_size);
        call.output = reinterpret_cast<std::uint64_t>(output.data());
        call.output_size = static_cast<std::uint16_t>(one_in(4) ? below(page + 1) : page);
        const int result = ask(fd, mshv::root_hypercall, &call);
        ++counts_.hypercalls;
        counts_.hypercalls_granted += result >= 0 && call.status == 0 ? 1 : 0;
        return result;
    }

    /// Behind the partition's id comes a processor's index in some, a property in others.
    void some_hypercall() {
        std::array<std::uint64_t, page / 8> input;
        std::generate(input.begin(), input.end(), [this] { return value(); });
        const unsigned code = one_in(16) ? static_cast<unsigned>(below(0x120)) : one_of(passed_on);
        unsigned reps = 0;
        switch (code) {
        case HVCALL_GET_VP_REGISTERS:
            reps = 1 + static_cast<unsigned>(below(one_in(8) ? 250 : 4));
            input[1] = below(4);
            for (unsigned i = 0; i < 2 * reps && i + 4 < input.size(); ++i) {
                input[2 + i] = some_register() | some_register() << 32;
            }
            break;
        case HVCALL_SET_VP_REGISTERS:
            reps = 1 + static_cast<unsigned>(below(one_in(8) ? 120 : 4));
            input[1] = below(4);
            for (unsigned i = 0; i < reps; ++i) {
                input[2 + 4 * i] = some_register();
            }
            break;
        case HVCALL_GET_GPA_PAGES_ACCESS_STATES:
        case HVCALL_GET_VP_CPUID_VALUES:
            reps = 1 + static_cast<unsigned>(below(one_in(8) ? 500 : 8));
            input[1] = code == HVCALL_GET_VP_CPUID_VALUES ? below(4) : below(16);
            if (code == HVCALL_GET_VP_CPUID_VALUES && !one_in(8)) {
                input[2] = 0;
            }
            break;
        case HVCALL_TRANSLATE_VIRTUAL_ADDRESS:
            input[1] = below(4);
            input[2] = one_in(8) ? input[2] : below(64);
            break;
        case HVCALL_ASSERT_VIRTUAL_INTERRUPT:
            input[1] = below(9) | below(4) << 32;
            input[2] &= 0xffffffff;
            input[3] = one_in(8) ? input[3] : below(256);
            break;
        case HVCALL_GET_PARTITION_PROPERTY:
        case HVCALL_SET_PARTITION_PROPERTY:
            input[1] = one_in(8) ? value() : static_cast<std::uint64_t>(one_of(properties));
            break;
        default:
            input[1] = one_in(2) ? below(4) : input[1];
        }
        reps = one_in(16) ? static_cast<unsigned>(below(0x1000)) : reps;
        (void)hypercall(
            slot().partition, code, reps, input.data(), one_in(4) ? below(page + 1) : sizeof input);
    }

    std::uint64_t some_register() {
        constexpr std::uint64_t near = 20;
        return one_in(16) ? value() & 0xffffffff
                          : static_cast<std::uint64_t>(one_of(register_ranges)) + below(near);
    }

    void run_vp() {
        mshv::RunVp message;
        (void)ask(slot().vp, mshv::run_vp, &message);
    }

    void change_state() {
        constexpr std::size_t pages = 2;
        alignas(page) std::array<std::uint64_t, pages * page / 8> buffer{};
        const int fd = slot().vp;
        mshv::VpStateRequest request{};
        request.type = static_cast<std::uint8_t>(below(6));
        request.size = static_cast<std::uint32_t>(one_in(4) ? value() : page);
        request.buffer = reinterpret_cast<std::uint64_t>(buffer.data());
        if (!one_in(3)) {
            (void)ask(fd, mshv::get_vp_state, &request);
        } else {
            std::generate(buffer.begin(), buffer.end(), [this] { return value(); });
        }
        for (std::uint64_t changes = below(4); changes > 0; --changes) {
            buffer[below(one_in(2) ? 80 : buffer.size())] = value();
        }
        (void)ask(fd, mshv::set_vp_state, &request);
    }

    void connect_events() {
        const int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (one_in(2)) {
            mshv::UserIoEventFd arguments{};
            arguments.data_match = value();
            arguments.address = value();
            arguments.length = static_cast<std::uint32_t>(one_in(4) ? value() : 1u << below(4));
            arguments.event = event;
            arguments.flags = static_cast<std::uint32_t>(below(8));
            (void)ask(slot().partition, mshv::ioeventfd, &arguments);
        } else {
            mshv::UserIrqFd arguments{};
            arguments.event = event;
            arguments.gsi = static_cast<std::uint32_t>(one_in(4) ? value() : below(16));
            arguments.flags = one_in(4) ? mshv::irqfd_deassign : 0;
            (void)ask(slot().partition, mshv::irqfd, &arguments);
            const std::uint64_t one = 1;
            (void)!write(event, &one, sizeof one);
        }
        close(event);
    }

    void route_interrupts() {
        struct {
            mshv::UserIrqTable table{};
            std::array<mshv::UserIrqEntry, 4> entries{};
        } arguments;
        arguments.table.count = static_cast<std::uint32_t>(below(5));
        for (mshv::UserIrqEntry& entry : arguments.entries) {
            entry = anything<mshv::UserIrqEntry>();
            entry.gsi = static_cast<std::uint32_t>(below(16));
        }
        (void)ask(slot().partition, mshv::set_msi_routing, &arguments);
    }

    void look_at_pages() {
        const int fd = slot().vp;
        const auto offset = static_cast<off_t>((one_in(8) ? below(64) : below(3)) * page);
        void* const at = mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
        if (at == MAP_FAILED) {
            return;
        }
        auto* const words = static_cast<volatile std::uint64_t*>(at);
        for (std::uint64_t changes = below(16); changes > 0; --changes) {
            words[below(64)] = value();
        }
        munmap(at, page);
    }

    void step() {
        const std::uint64_t kind = below(64);
        if (kind < 2) {
            create_partition();
        } else if (kind < 3) {
            Slot& one = slot();
            replace(one_in(2) ? one.partition : one.vp, -1);
        } else if (kind < 6) {
            create_vp();
        } else if (kind < 10) {
            map_memory();
        } else if (kind < 14) {
            ask_for_access();
        } else if (kind < 18) {
            run_vp();
        } else if (kind < 24) {
            change_state();
        } else if (kind < 27) {
            connect_events();
        } else if (kind < 29) {
            route_interrupts();
        } else if (kind < 31) {
            look_at_pages();
        } else {
            some_hypercall();
        }
    }

    HostileRoot& root_;
    std::mt19937_64 random_;
    Counts counts_{};
};

HostileRoot::HostileRoot(std::uint64_t seed)
    : seed_{seed},
      device_{open("/dev/mshv", O_RDWR | O_CLOEXEC)} {
    void* const at =
        mmap(nullptr, memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (device_ < 0 || at == MAP_FAILED) {
        throw std::runtime_error("no /dev/mshv, or no memory");
    }
    memory_ = static_cast<std::byte*>(at);
    std::mt19937_64 random{seed};
    std::generate_n(reinterpret_cast<std::uint64_t*>(at), memory_size / 8, random);
}

HostileRoot::~HostileRoot() {
    for (Slot& slot : slots_) {
        for (const int fd : {slot.vp.load(), slot.partition.load()}) {
            if (fd >= 0) {
                close(fd);
            }
        }
    }
    munmap(memory_, memory_size);
    close(device_);
}

HostileRoot::Counts HostileRoot::run_for(std::chrono::seconds time) {
    constexpr unsigned thread_count = 3;
    struct sigaction action {};
    action.sa_handler = [](int) {
    };
    sigaction(SIGUSR1, &action, nullptr);
    std::vector<Thread> workers;
    workers.reserve(thread_count);
    std::vector<std::thread> threads;
    std::atomic<unsigned> running{thread_count};
    for (unsigned i = 0; i < thread_count; ++i) {
        workers.emplace_back(*this, seed_ + i);
        threads.emplace_back([&worker = workers.back(), &running] {
            worker.run();
            --running;
        });
    }
    // A processor that runs without end gives way to a signal.
    const auto end = std::chrono::steady_clock::now() + time;
    while (running != 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds{5});
        ends_ = std::chrono::steady_clock::now() >= end;
        for (std::thread& thread : threads) {
            pthread_kill(thread.native_handle(), SIGUSR1);
        }
    }
    Counts sum;
    for (unsigned i = 0; i < thread_count; ++i) {
        threads[i].join();
        sum.calls += workers[i].counts().calls;
        sum.granted += workers[i].counts().granted;
        sum.hypercalls += workers[i].counts().hypercalls;
        sum.hypercalls_granted += workers[i].counts().hypercalls_granted;
    }
    return sum;
}

} // namespace croft::guests
