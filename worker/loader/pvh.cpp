// SPDX-License-Identifier: Apache-2.0
#include "worker/loader/loading.hpp"

#include <algorithm>
#include <elf.h>
#include <vector>

namespace croft::worker {

namespace {

/// The note that holds the 32-bit entry (Xen, public/elfnote.h).
constexpr std::uint32_t note_entry_32 = 18;

/// What the kernel gets (Xen, public/arch-x86/hvm/start_info.h).
struct StartInfo {
    std::uint32_t magic = 0x336e'c578;
    std::uint32_t version = 1;
    std::uint32_t flags = 0;
    std::uint32_t module_count = 0;
    std::uint64_t modules = 0;
    std::uint64_t command_line = 0;
    std::uint64_t rsdp = 0;
    std::uint64_t memory_map = 0;
    std::uint32_t memory_map_count = 0;
    std::uint32_t reserved = 0;
};
static_assert(sizeof(StartInfo) == 56);

struct StartModule {
    std::uint64_t address = 0;
    std::uint64_t size = 0;
    std::uint64_t command_line = 0;
    std::uint64_t reserved = 0;
};

struct StartMapEntry {
    std::uint64_t address = 0;
    std::uint64_t size = 0;
    std::uint32_t type = 0;
    std::uint32_t reserved = 0;
};

constexpr std::uint64_t module_offset = 0x100;
constexpr std::uint64_t map_offset = 0x200;
constexpr std::uint64_t longest_command_line = 65534;

/// Reads an ELF file of 32 or 64 bits; `Types` names its structures.
template <typename Types>
class ElfLoader {
public:
    ElfLoader(const BootRequest& request, GuestMemory& memory)
        : request_(request),
          memory_(memory),
          file_(request.kernel) {}

    /// Loads the segments; afterwards `entry` and `end` say where it begins and ends.
    void load() {
        const auto header = file_.at<typename Types::Header>(0);
        if (!header || header->e_phentsize != sizeof(typename Types::Segment) ||
            (header->e_machine != EM_X86_64 && header->e_machine != EM_386)) {
            refuse_kernel(request_, "an ELF file of another kind or a damaged one",
                "one for x86 with program headers");
        }
        for (unsigned index = 0; index < header->e_phnum; ++index) {
            const auto segment = file_.at<typename Types::Segment>(
                header->e_phoff + std::uint64_t{index} * header->e_phentsize);
            if (!segment) {
                refuse_kernel(request_, fmt::format("{} bytes", file_.size()),
                    fmt::format("{} program headers", header->e_phnum));
            }
            if (segment->p_type == PT_LOAD) {
                load_segment(*segment);
            } else if (segment->p_type == PT_NOTE) {
                read_notes(*segment);
            }
        }
        check_entry();
    }

    std::uint64_t entry = 0;
    std::uint64_t end = 0;

private:
    using Segment = typename Types::Segment;

    void load_segment(const Segment& segment) {
        if (segment.p_memsz == 0) {
            return;
        }
        const auto bytes = file_.part(segment.p_offset, segment.p_filesz);
        if (!bytes || segment.p_filesz > segment.p_memsz) {
            refuse_kernel(request_,
                fmt::format("a segment of {:#x} bytes at offset {:#x}",
                    std::uint64_t{segment.p_filesz}, std::uint64_t{segment.p_offset}),
                "one that lies in the file and in its memory");
        }
        const std::uint64_t first = segment.p_paddr;
        const std::uint64_t limit = request_.layout.low_memory_end();
        if (first < MemoryLayout::extended_start) {
            refuse_kernel(request_, fmt::format("a segment at {:#x}", first),
                "all of them at 1 MiB or above");
        }
        if (first >= limit || limit - first < segment.p_memsz) {
            throw LoadError(
                fmt::format("memory: found {} MiB below 4 GiB, expected room for {:#x} "
                            "bytes at {:#x}, where kernel {} wants to be; give the VM more "
                            "with --memory",
                    limit / mebibyte, std::uint64_t{segment.p_memsz}, first, request_.kernel_name));
        }
        const std::uint64_t last = first + segment.p_memsz;
        for (const MemoryRange& other : loaded_) {
            if (first < other.end() && other.start < last) {
                refuse_kernel(request_,
                    fmt::format("segments that overlap at {:#x}", std::max(first, other.start)),
                    "each at a place of its own");
            }
        }
        loaded_.push_back({first, segment.p_memsz});
        put(memory_, first, *bytes);
        end = std::max(end, last);
    }

    void read_notes(const Segment& segment) {
        std::uint64_t offset = 0;
        const auto notes = file_.part(segment.p_offset, segment.p_filesz);
        if (!notes) {
            refuse_kernel(request_, "notes beyond the end of the file", "a whole file");
        }
        const ImageReader reader(*notes);
        while (offset < reader.size()) {
            const Elf32_Nhdr note = reader.at<Elf32_Nhdr>(offset).value_or(Elf32_Nhdr{});
            const std::uint64_t name = offset + sizeof(Elf32_Nhdr);
            const std::uint64_t value = name + (std::uint64_t{note.n_namesz} + 3) / 4 * 4;
            const auto text = reader.part(name, note.n_namesz);
            if (note.n_type == note_entry_32 && text && is_xen(*text)) {
                read_entry(reader, value, note.n_descsz);
            }
            offset = value + (std::uint64_t{note.n_descsz} + 3) / 4 * 4;
        }
    }

    static bool is_xen(std::span<const std::uint8_t> name) {
        static constexpr std::array<std::uint8_t, 4> xen = {'X', 'e', 'n', 0};
        return std::equal(name.begin(), name.end(), xen.begin(), xen.end());
    }

    void read_entry(const ImageReader& notes, std::uint64_t offset, std::uint32_t size) {
        if (size == 4) {
            entry = notes.at<std::uint32_t>(offset).value_or(0);
        } else if (size == 8) {
            entry = notes.at<std::uint64_t>(offset).value_or(0);
        }
    }

    void check_entry() const {
        if (entry == 0) {
            refuse_kernel(request_, "an ELF file without a PVH entry",
                "one with the note that says where it is (Linux: CONFIG_PVH)");
        }
        const bool is_loaded =
            std::any_of(loaded_.begin(), loaded_.end(), [this](const MemoryRange& range) {
                return entry >= range.start && entry < range.end();
            });
        if (!is_loaded) {
            refuse_kernel(request_,
                fmt::format("the PVH entry {:#x} outside of all segments", entry),
                "it inside of one");
        }
    }

    const BootRequest& request_;
    GuestMemory& memory_;
    ImageReader file_;
    std::vector<MemoryRange> loaded_;
};

struct Elf32Types {
    using Header = Elf32_Ehdr;
    using Segment = Elf32_Phdr;
};
struct Elf64Types {
    using Header = Elf64_Ehdr;
    using Segment = Elf64_Phdr;
};

void put_start_info(const BootRequest& request, std::uint64_t ram_disk, GuestMemory& memory) {
    StartInfo info;
    info.command_line = BootArea::command_line;
    info.rsdp = request.rsdp;
    if (ram_disk != 0) {
        const StartModule module{ram_disk, request.initial_ram_disk.size(), 0, 0};
        info.module_count = 1;
        info.modules = BootArea::start_info + module_offset;
        put_value(memory, info.modules, module);
    }
    info.memory_map = BootArea::start_info + map_offset;
    for (const MemoryMapEntry& entry : request.layout.map()) {
        const StartMapEntry written{
            entry.range.start, entry.range.size, static_cast<std::uint32_t>(entry.type), 0};
        put_value(memory, info.memory_map + info.memory_map_count * sizeof(written), written);
        ++info.memory_map_count;
    }
    put_value(memory, BootArea::start_info, info);
}

template <typename Types>
BootEntry load_elf(const BootRequest& request, GuestMemory& memory) {
    ElfLoader<Types> loader(request, memory);
    loader.load();
    put_command_line(request, longest_command_line, memory);
    const std::uint64_t ram_disk =
        put_initial_ram_disk(request, loader.end, request.layout.low_memory_end(), memory);
    put_start_info(request, ram_disk, memory);
    BootEntry entry;
    entry.mode = BootEntry::Mode::protected_32;
    entry.address = loader.entry;
    entry.rbx = BootArea::start_info;
    return entry;
}

} // namespace

BootEntry load_pvh(const BootRequest& request, GuestMemory& memory) {
    const auto file_class = ImageReader(request.kernel).at<std::uint8_t>(EI_CLASS);
    if (file_class == ELFCLASS64) {
        return load_elf<Elf64Types>(request, memory);
    }
    if (file_class == ELFCLASS32) {
        return load_elf<Elf32Types>(request, memory);
    }
    refuse_kernel(request, "an ELF file of neither 32 nor 64 bits", "one of them");
}

} // namespace croft::worker
