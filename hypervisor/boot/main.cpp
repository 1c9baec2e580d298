// SPDX-License-Identifier: Apache-2.0
// From the loader to the root partition: what is there, what the hypervisor keeps, who runs.
#include "hypervisor/boot/acpi.hpp"
#include "hypervisor/boot/multiboot.hpp"
#include "hypervisor/boot/multiboot2.hpp"
#include "hypervisor/boot/options.hpp"
#include "hypervisor/cpu/branch_barrier.hpp"
#include "hypervisor/cpu/clock.hpp"
#include "hypervisor/cpu/descriptor_tables.hpp"
#include "hypervisor/cpu/extended_state.hpp"
#include "hypervisor/cpu/logical_processor.hpp"
#include "hypervisor/cpu/memory_types.hpp"
#include "hypervisor/cpu/physical_apic.hpp"
#include "hypervisor/cpu/register_rules.hpp"
#include "hypervisor/cpu/virtual_cpu.hpp"
#include "hypervisor/debug/panic.hpp"
#include "hypervisor/memory/host_map.hpp"
#include "hypervisor/memory/page_pool.hpp"
#include "hypervisor/memory/page_records.hpp"
#include "hypervisor/partition/root.hpp"
#include "hypervisor/scheduler/scheduler.hpp"

#include <cstring>
#include <new>

extern "C" {
extern const std::uint8_t image_begin[];
extern const std::uint8_t image_end[];
extern const std::uint8_t ap_trampoline_begin[];
extern const std::uint8_t ap_trampoline_end[];
extern std::uint8_t boot_stack[];
extern std::uint64_t ap_stack;
void boot_main(std::uint64_t information, std::uint32_t magic);
void ap_main();
}

namespace hypervisor {

namespace {

constinit PageRecords page_records{};
constinit PagePool reserve{};
constinit HostMap host_map{};
constinit PagePool host_tables{};
// Kept out of the stack: it is large.
constinit BootInformation boot{};
/// Below 1 MiB: where the other processors begin.
constinit std::uint64_t trampoline = 0;

[[noreturn]] void give_up(const char* reason) {
    log(LogLevel::error, "{}", reason);
    stop_processor();
}

/// Contiguous memory for what is made once, from the beginning of the reserved range.
class BootMemory final {
public:
    void initialise(std::uint64_t begin, std::uint64_t end) {
        next_ = begin;
        end_ = end;
    }
    std::uint64_t take(std::uint64_t size, std::uint64_t alignment) {
        const std::uint64_t begin = (next_ + alignment - 1) & ~(alignment - 1);
        require(begin + size <= end_, "the range reserved at boot is too small");
        next_ = begin + size;
        std::memset(reinterpret_cast<void*>(begin), 0, size);
        return begin;
    }
    /// The rest, page by page.
    void give_rest(PagePool& pool) {
        for (std::uint64_t at = (next_ + page_size - 1) & ~(page_size - 1); at + page_size <= end_;
             at += page_size) {
            pool.add(SpaPage::containing(at));
        }
        next_ = end_;
    }

private:
    std::uint64_t next_ = 0;
    std::uint64_t end_ = 0;
};

constinit BootMemory boot_memory{};

std::uint64_t pages_up_to(std::uint64_t end) {
    return (end + page_size - 1) / page_size;
}

/// Memory that may be written to while the loader's things are still needed.
MemoryMap free_memory() {
    MemoryMap free;
    if (!boot.free_memory(free)) {
        give_up("the memory map has too many ranges to take the modules out of it");
    }
    return free;
}

/// The root may have the page when the processors have started.
void choose_trampoline() {
    constexpr std::uint64_t real_mode_end = 1ull << 20;
    const auto page = free_memory().find_highest(page_size, page_size, real_mode_end);
    if (!page || *page == 0) {
        give_up("there is no free page below 1 MiB for the other processors to start in");
    }
    trampoline = *page;
}

/// Chooses the hypervisor's memory, as high as the first mapping reaches, and says so in the map
/// that the root will get.
void reserve_memory(unsigned processors) {
    const auto image = reinterpret_cast<std::uint64_t>(image_begin);
    const auto image_last = reinterpret_cast<std::uint64_t>(image_end);
    (void)boot.memory.reserve(image, image_last);
    const std::uint64_t end = boot.memory.usable_end();
    constexpr std::uint64_t per_processor = 128 * 1024;
    constexpr std::uint64_t slack = 1ull << 20;
    const std::uint64_t table_bytes = (end / huge_page_size + 16) * page_size;
    const std::uint64_t wanted = PageRecords::bytes_for(pages_up_to(end)) +
        root::reserve_bytes(end, processors) + table_bytes + processors * per_processor + slack;
    const std::uint64_t size = (wanted + large_page_size - 1) & ~(large_page_size - 1);
    constexpr std::uint64_t first_mapping_end = 1ull << 32;
    const auto begin = free_memory().find_highest(size, large_page_size, first_mapping_end);
    if (!begin) {
        log(LogLevel::error,
            "too little memory: the hypervisor needs {} KiB in one piece below 4 GiB", size / 1024);
        stop_processor();
    }
    (void)boot.memory.reserve(*begin, *begin + size);
    boot_memory.initialise(*begin, *begin + size);

    const std::uint64_t pages = pages_up_to(end);
    page_records.initialise(
        reinterpret_cast<void*>(boot_memory.take(PageRecords::bytes_for(pages), page_size)), pages);
    for (const MemoryRange& range : boot.memory.ranges()) {
        const PageKind kind = range.type == MemoryType::usable ? PageKind::root : PageKind::device;
        // A page that is only partly usable is none.
        std::uint64_t page = (range.begin + page_size - 1) / page_size;
        for (; kind == PageKind::root && (page + 1) * page_size <= range.end; ++page) {
            page_records.assign(SpaPage{page}, kind);
        }
    }
    const auto keep = [](std::uint64_t from, std::uint64_t to) {
        for (std::uint64_t page = from / page_size; page < pages_up_to(to); ++page) {
            page_records.assign(SpaPage{page}, PageKind::hypervisor);
        }
    };
    keep(image, image_last);
    keep(*begin, *begin + size);
    log(LogLevel::info, "{} MiB of memory, {} KiB of it the hypervisor's at {x}",
        boot.memory.usable_bytes() >> 20, size / 1024, *begin);
}

LogicalProcessor& make_lp(std::uint32_t index, std::uint32_t apic_id) {
    const std::uint64_t input = boot_memory.take(2 * page_size, page_size);
    return *new (reinterpret_cast<void*>(boot_memory.take(sizeof(LogicalProcessor), 64)))
        LogicalProcessor{index, apic_id, clock::from_100ns(scheduler::sleeper_bonus_100ns),
            clock::from_100ns(scheduler::balance_lag_100ns), SpaPage::containing(input),
            SpaPage::containing(input + page_size)};
}

/// What every processor does for itself. Its LogicalProcessor can be found.
void enable_processor() {
    descriptor_tables::load();
    host_map.load();
    physical_apic::enable();
    extended_state::enable();
    virtualization::enable(LogicalProcessor::current().host_save_area());
}

void stop_others() {
    for (const LogicalProcessor* const lp : LogicalProcessor::all()) {
        if (lp->apic_id() != physical_apic::id()) {
            physical_apic::send_nmi(lp->apic_id());
        }
    }
}

constinit std::atomic<bool> ap_is_up{false};

/// Starts one processor (SDM vol. 3, 9.4.4). \return false if it does not answer.
bool start_processor(std::uint32_t index, std::uint32_t apic_id, std::uint32_t domain) {
    constexpr std::uint64_t patience_us = 1'000'000;
    const auto stack = boot_memory.take(LogicalProcessor::stack_size, LogicalProcessor::stack_size);
    LogicalProcessor& lp = make_lp(index, apic_id);
    lp.proximity_domain = domain;
    lp.set_host_save_area(SpaPage::containing(boot_memory.take(page_size, page_size)));
    LogicalProcessor::of_stack(stack) = &lp;
    require(host_map.hide(host_tables, stack), "the host's page tables don't fit");
    std::memcpy(reinterpret_cast<void*>(trampoline), ap_trampoline_begin,
        static_cast<std::size_t>(ap_trampoline_end - ap_trampoline_begin));
    ap_stack = LogicalProcessor::stack_top(stack);
    ap_is_up.store(false);
    physical_apic::send_init(apic_id);
    clock::wait_microseconds(10'000);
    for (unsigned attempt = 0; attempt < 2 && !ap_is_up.load(); ++attempt) {
        physical_apic::send_startup(apic_id, static_cast<std::uint8_t>(trampoline >> page_shift));
        clock::wait_microseconds(200);
    }
    const std::uint64_t end = read_tsc() + clock::from_100ns(patience_us * 10);
    while (!ap_is_up.load() && read_tsc() < end) {
        pause();
    }
    return ap_is_up.load();
}

void start_processors(const AcpiInformation& acpi) {
    const std::uint32_t own = physical_apic::id();
    std::uint32_t index = 1;
    for (unsigned i = 0; i < acpi.processor_count; ++i) {
        if (acpi.apic_ids[i] == own) {
            continue;
        }
        const std::uint32_t apic_id = acpi.apic_ids[i];
        if (start_processor(index, apic_id, acpi.proximity_domain_of(apic_id))) {
            ++index;
        } else {
            log(LogLevel::warning, "processor with APIC id {} does not start", acpi.apic_ids[i]);
        }
    }
    if (acpi.left_out != 0) {
        log(LogLevel::warning,
            "{} processors are left out: at most {} with APIC ids below 255 are used",
            acpi.left_out, AcpiInformation::most_processors);
    }
}

void mask_legacy_interrupts() {
    constexpr std::uint16_t master_mask = 0x21;
    constexpr std::uint16_t slave_mask = 0xa1;
    out8(master_mask, 0xff);
    out8(slave_mask, 0xff);
}

[[noreturn]] void boot_machine(std::uint64_t information, std::uint32_t magic) {
    constexpr std::uint32_t multiboot2_magic = 0x36d76289; // Multiboot2 Specification 2.0, 3.3
    const auto found =
        magic == multiboot2_magic ? read_multiboot2(information) : read_multiboot(information);
    const BootOptions options = parse_options(found ? found->command_line : std::string_view{});
    console::initialise(options.console_port);
    console::set_level(options.log_level);
    log(LogLevel::info, "Undercroft hypervisor, version {}", UNDERCROFT_VERSION);
    if (!found) {
        give_up(found.error().data());
    }
    if (!options.unknown.empty()) {
        log(LogLevel::warning, "option \"{}\" is not understood", options.unknown);
    }
    boot = *found;
    scheduler::set_root_schedules(options.root_schedules);
    if (const char* const reason = virtualization::unsupported(); reason != nullptr) {
        give_up(reason);
    }
    if (boot.efi_system_table != 0) {
        log(LogLevel::info, "started from UEFI, its system table is at {x}", boot.efi_system_table);
    }
    const std::uint64_t rsdp =
        is_rsdp(boot.rsdp.data()) ? reinterpret_cast<std::uint64_t>(boot.rsdp.data()) : find_rsdp();
    if (rsdp == 0) {
        give_up("no ACPI tables are found");
    }
    const auto acpi = read_acpi(rsdp);
    if (!acpi) {
        give_up(acpi.error().data());
    }
    reserve_memory(acpi->processor_count);
    choose_trampoline();
    mask_legacy_interrupts();
    descriptor_tables::initialise();
    extended_state::initialise();
    branch_barrier::initialise();
    set_register_rules(RegisterRules::of_this_machine(extended_state::allowed_xcr0()));
    physical_apic::enable();
    clock::calibrate();
    log(LogLevel::info, "time-stamp counter {} kHz, APIC timer {} kHz",
        clock::tsc_frequency() / 1000, clock::apic_frequency() / 1000);

    LogicalProcessor& lp = make_lp(0, physical_apic::id());
    lp.proximity_domain = acpi->proximity_domain_of(lp.apic_id());
    lp.set_host_save_area(SpaPage::containing(boot_memory.take(page_size, page_size)));
    const auto stack = reinterpret_cast<std::uint64_t>(boot_stack);
    LogicalProcessor::of_stack(stack) = &lp;

    // The processors' own memory first: what is left is for tables.
    const std::uint64_t table_pages =
        boot.memory.usable_end() / huge_page_size + acpi->processor_count + 16;
    for (std::uint64_t i = 0; i < table_pages; ++i) {
        host_tables.add(SpaPage::containing(boot_memory.take(page_size, page_size)));
    }
    require(
        host_map.build(host_tables, boot.memory.usable_end()) && host_map.hide(host_tables, stack),
        "the host's page tables don't fit");
    virtualization::initialise(
        SpaPage::containing(boot_memory.take(virtualization::shared_size(), page_size)));
    enable_processor();
    LogicalProcessor::add(lp);
    set_processor_stopper(stop_others);
    memory_types::remember();
    start_processors(*acpi);
    log(LogLevel::info, "{} logical processors", LogicalProcessor::all().size());

    boot_memory.give_rest(reserve);
    root::create(page_records, reserve, *acpi);
    if (const char* const reason = root::start(boot, rsdp); reason != nullptr) {
        give_up(reason);
    }
    lp.run();
}

} // namespace

} // namespace hypervisor

void boot_main(std::uint64_t information, std::uint32_t magic) {
    hypervisor::boot_machine(information, magic);
}

void ap_main() {
    hypervisor::enable_processor();
    hypervisor::memory_types::apply();
    hypervisor::LogicalProcessor& lp = hypervisor::LogicalProcessor::current();
    hypervisor::LogicalProcessor::add(lp);
    hypervisor::ap_is_up.store(true);
    lp.run();
}
