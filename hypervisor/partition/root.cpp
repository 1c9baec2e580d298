// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/root.hpp"

#include "hypervisor/cpu/fixed_registers.hpp"
#include "hypervisor/cpu/logical_processor.hpp"
#include "hypervisor/cpu/physical_apic.hpp"
#include "hypervisor/cpu/virtual_cpu.hpp"
#include "hypervisor/debug/panic.hpp"
#include "hypervisor/partition/lifecycle.hpp"
#include "hypervisor/partition/overlay.hpp"
#include "hypervisor/partition/partition_table.hpp"
#include "hypervisor/partition/power.hpp"
#include "hypervisor/scheduler/scheduler.hpp"

#include <algorithm>
#include <cstring>
#include <new>

namespace hypervisor::root {

namespace {

constexpr std::uint64_t root_privileges = HV_ACCESS_VP_RUN_TIME_REG |
    HV_ACCESS_PARTITION_REFERENCE_COUNTER | HV_ACCESS_SYNIC_REGS | HV_ACCESS_SYNTHETIC_TIMER_REGS |
    HV_ACCESS_INTR_CTRL_REGS | HV_ACCESS_HYPERCALL_MSRS | HV_ACCESS_VP_INDEX |
    HV_ACCESS_PARTITION_REFERENCE_TSC | HV_ACCESS_FREQUENCY_REGS | HV_CREATE_PARTITIONS |
    HV_ACCESS_PARTITION_ID | HV_ACCESS_MEMORY_POOL | HV_POST_MESSAGES | HV_SIGNAL_EVENTS |
    HV_CREATE_PORT | HV_CONNECT_PORT | HV_ACCESS_STATS | HV_CPU_MANAGEMENT | HV_ACCESS_VP_REGISTERS;

constinit PagePool* the_reserve = nullptr;

SpaPage take_reserve() {
    const auto page = the_reserve->allocate();
    require(page.has_value(), "the memory reserved for the root at boot is used up");
    return *page;
}

/// A page of the reserve that the root may read and write.
SpaPage take_overlay(Partition& root) {
    const SpaPage page = take_reserve();
    root.records().assign(page, PageKind::overlay);
    const Status mapped = lifecycle::map_in_root(page);
    require(mapped == Status::success, "an overlay page can't be mapped in the root");
    return page;
}

unsigned physical_bits() {
    return cpuid(0x80000008).eax & 0xff;
}

/// What is mapped for the root: all addresses that the processor can make, up to 1 TiB; where
/// there are no pages of 1 GiB, up to the end of memory or 512 GiB.
std::uint64_t map_end(std::uint64_t memory_end) {
    constexpr std::uint64_t most = 1ull << 40;
    constexpr std::uint64_t most_in_large_pages = 1ull << 39;
    if (virtualization::has_huge_pages()) {
        return std::min<std::uint64_t>(
            std::max<std::uint64_t>(most, memory_end), 1ull << physical_bits());
    }
    return std::max<std::uint64_t>(most_in_large_pages, memory_end);
}

void map_everything(Partition& root, std::uint64_t end) {
    constexpr std::uint32_t all = HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE | HV_MAP_GPA_EXECUTABLE;
    ReleaseList released;
    Slat& slat = root.space().slat();
    const bool huge = virtualization::has_huge_pages();
    for (std::uint64_t at = 0; at < end; at += huge ? huge_page_size : large_page_size) {
        const Status status = huge
            ? slat.map_huge_identity(GpaPage::containing(at))
            : slat.map_large(GpaPage::containing(at), SpaPage::containing(at), all, released);
        require(status == Status::success, "the reserve is too small for the root's page tables");
    }
}

/// Takes out of the root's map what is the hypervisor's, 2 MiB at a time where it can.
void unmap_private(Partition& root) {
    ReleaseList released;
    Slat& slat = root.space().slat();
    const PageRecords& records = root.records();
    const auto is_private = [&records](std::uint64_t page) {
        return records.kind(SpaPage{page}) == PageKind::hypervisor;
    };
    for (std::uint64_t page = 0; page < records.pages();) {
        if (!is_private(page)) {
            ++page;
            continue;
        }
        std::uint64_t end = page;
        while (end < records.pages() && is_private(end)) {
            ++end;
        }
        while (page < end) {
            const bool large =
                page % pages_per_large_page == 0 && end - page >= pages_per_large_page;
            const Status status = large ? slat.unmap_large(GpaPage{page}, released)
                                        : slat.unmap(GpaPage{page}, released);
            require(status == Status::success, "the hypervisor's memory can't be hidden");
            page += large ? pages_per_large_page : 1;
        }
    }
    const Status apic = slat.unmap(GpaPage::containing(physical_apic::page_address), released);
    require(apic == Status::success, "the local APIC's page can't be hidden");
}

/// 32-bit protected mode, paging off, flat segments (the kernel's Documentation/arch/x86/boot.rst).
void enter_at(VirtualProcessor& vp, std::uint64_t entry, std::uint64_t boot_parameters) {
    NativeCpu& cpu = vp.cpu();
    const auto flat = [](std::uint16_t selector, std::uint16_t attributes) {
        hv_x64_segment_register segment{};
        segment.limit = 0xffffffff;
        segment.selector = selector;
        segment.attributes = attributes;
        return segment;
    };
    constexpr std::uint16_t code32 = 0xc09b;
    constexpr std::uint16_t data32 = 0xc093;
    cpu.set_segment(SegmentName::cs, flat(0x10, code32));
    for (const SegmentName name :
        {SegmentName::ds, SegmentName::es, SegmentName::fs, SegmentName::gs, SegmentName::ss}) {
        cpu.set_segment(name, flat(0x18, data32));
    }
    cpu.set(CpuRegister::cr0, cr0_pe | cr0_et | cr0_ne);
    cpu.set(CpuRegister::rip, entry);
    cpu.gpr = {};
    cpu.gpr[GeneralRegister::rsi] = boot_parameters;
}

} // namespace

std::uint64_t reserve_bytes(std::uint64_t memory_end, unsigned processors) {
    const std::uint64_t end = map_end(memory_end);
    // A table for every 2 MiB of memory, so that any page may be taken out of the map, and those
    // above them; then what each processor has.
    const std::uint64_t tables = memory_end / large_page_size + memory_end / huge_page_size +
        end / (512 * huge_page_size) +
        (virtualization::has_huge_pages() ? 0 : end / huge_page_size) + 16;
    constexpr std::uint64_t pages_per_processor = 24;
    return (tables + processors * pages_per_processor) * page_size;
}

void create(PageRecords& records, PagePool& reserve, const AcpiInformation& acpi) {
    the_reserve = &reserve;
    const SpaPage object = take_reserve();
    auto* const root = new (pointer_to<void>(object)) Partition{partition_table::root_id,
        static_cast<std::uint16_t>(partition_table::root_id), true, records, &reserve, 0};
    partition_table::set_root(*root);
    root->set_vp_table(take_reserve());
    root->set_privileges(root_privileges);
    require(root->space().create(), "the reserve is empty");
    root->set_state(Partition::State::initialized);
    map_everything(*root, map_end(records.pages() * page_size));
    unmap_private(*root);

    root->hypercall_overlay.page = take_overlay(*root);
    root->reference_tsc_overlay.page = take_overlay(*root);
    root->hypercall_page = root->hypercall_overlay.page.address();
    root->reference_tsc_page = root->reference_tsc_overlay.page.address();
    power::set_control_ports(acpi.pm1a_control, acpi.pm1b_control);

    LogicalProcessor::current().added_to_root.store(true);
    const Status created = create_vp(0, 0);
    require(created == Status::success, "the root's first virtual processor can't be made");
}

Status create_vp(std::uint32_t index, std::uint64_t lp_index) {
    const auto lps = LogicalProcessor::all();
    // Root VPs and LPs are numbered alike, so that each finds the other.
    if (lp_index >= lps.size() || lp_index != index || !lps[lp_index]->added_to_root.load()) {
        return Status::invalid_lp_index;
    }
    Partition& root = *partition_table::root();
    const auto vp = lifecycle::create_vp(root, index, *lps[lp_index], *the_reserve, index == 0);
    if (!vp) {
        return vp.error();
    }
    (*vp)->overlays.message.page = take_overlay(root);
    (*vp)->overlays.event_flags.page = take_overlay(root);
    (*vp)->overlays.event_ring.page = take_overlay(root);
    (*vp)->overlays.vp_assist.page = take_overlay(root);
    overlay::initialise_root(**vp);
    return Status::success;
}

const char* start(const BootInformation& boot, std::uint64_t rsdp) {
    if (boot.module_count < 1) {
        return "no root kernel: give a bzImage as the first Multiboot module and an initramfs as "
               "the second";
    }
    const BootModule& kernel = boot.modules[0];
    const std::span file{
        reinterpret_cast<const std::uint8_t*>(kernel.begin), kernel.end - kernel.begin};
    const auto image = parse_linux_image(file);
    if (!image) {
        return image.error().data();
    }
    MemoryMap free;
    if (!boot.free_memory(free)) {
        return "the memory map has too many ranges to take the modules out of it";
    }
    constexpr std::uint64_t low_floor = 0x10000;
    constexpr std::uint64_t low_end = 1ull << 32;
    // The boot parameters, the command line, and the RSDP, which the root looks at again later.
    constexpr std::uint64_t parameter_bytes = 3 * page_size;
    const auto parameters = free.find_lowest(parameter_bytes, page_size, low_floor);
    if (!parameters || !free.reserve(*parameters, *parameters + parameter_bytes)) {
        return "too little memory for the root kernel's boot parameters";
    }
    const auto load = free.find_lowest(image->init_size, image->alignment, image->preferred);
    if (!load || *load + image->init_size > low_end) {
        return "too little memory for the root kernel below 4 GiB";
    }
    if (!image->relocatable && *load != image->preferred) {
        return "the root kernel is not relocatable, and where it must go is no free memory; build "
               "it "
               "with CONFIG_RELOCATABLE";
    }
    const std::string_view command_line = kernel.arguments;
    if (command_line.size() >= page_size || command_line.size() > image->command_line_size) {
        return "the root kernel's command line is too long for it";
    }
    const LinuxStart where{.load_address = *load,
        .initrd_begin = boot.modules[1].begin,
        .initrd_size = boot.modules[1].end - boot.modules[1].begin,
        .command_line = *parameters + page_size,
        .rsdp = *parameters + 2 * page_size,
        .text_screen = boot.efi_system_table == 0};
    std::memcpy(
        reinterpret_cast<void*>(where.rsdp), reinterpret_cast<const void*>(rsdp), boot.rsdp.size());
    MemoryMap memory = boot.memory;
    if (!memory.add(where.rsdp, where.rsdp + page_size, MemoryType::acpi)) {
        return "the memory map has too many ranges to set a page for ACPI apart";
    }
    auto* const line = reinterpret_cast<char*>(where.command_line);
    std::memcpy(line, command_line.data(), command_line.size());
    line[command_line.size()] = '\0';
    fill_boot_parameters(
        std::span<std::uint8_t, page_size>{reinterpret_cast<std::uint8_t*>(*parameters), page_size},
        file, where, memory);
    std::memcpy(reinterpret_cast<void*>(*load), file.subspan(image->protected_mode_offset).data(),
        image->protected_mode_size);

    VirtualProcessor& vp = *partition_table::root()->vp(0);
    enter_at(vp, *load, *parameters);
    log(LogLevel::info, "starting the root: kernel at {x}, initramfs at {x} ({} KiB)", *load,
        where.initrd_begin, where.initrd_size / 1024);
    scheduler::wake(vp);
    return nullptr;
}

} // namespace hypervisor::root
