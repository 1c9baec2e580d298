// SPDX-License-Identifier: Apache-2.0
#include "worker/loader/loading.hpp"

#include <array>
#include <vector>

namespace croft::worker {

namespace {

// The setup header and the fields of the zero page (Linux, Documentation/arch/x86/boot.rst and
// zero-page.rst), by their offsets, which are the same in both.
constexpr std::uint64_t zero_page_rsdp = 0x070;
constexpr std::uint64_t zero_page_map_count = 0x1e8;
constexpr std::uint64_t setup_sectors = 0x1f1;
constexpr std::uint64_t boot_flag = 0x1fe;
constexpr std::uint64_t header_end = 0x201;
constexpr std::uint64_t header_magic = 0x202;
constexpr std::uint64_t protocol_version = 0x206;
constexpr std::uint64_t loader_type = 0x210;
constexpr std::uint64_t load_flags = 0x211;
constexpr std::uint64_t ram_disk_address = 0x218;
constexpr std::uint64_t ram_disk_size = 0x21c;
constexpr std::uint64_t command_line_pointer = 0x228;
constexpr std::uint64_t ram_disk_limit = 0x22c;
constexpr std::uint64_t kernel_alignment = 0x230;
constexpr std::uint64_t relocatable = 0x234;
constexpr std::uint64_t extended_load_flags = 0x236;
constexpr std::uint64_t command_line_limit = 0x238;
constexpr std::uint64_t preferred_address = 0x258;
constexpr std::uint64_t needed_size = 0x260;
constexpr std::uint64_t zero_page_map = 0x2d0;
constexpr std::uint64_t longest_header_end = 0x290;

constexpr std::uint16_t boot_flag_value = 0xaa55;
constexpr std::uint32_t header_magic_value = 0x53726448; // "HdrS"
/// The version that has all fields read here.
constexpr std::uint16_t oldest_version = 0x020c;
constexpr std::uint8_t loaded_high = 1U << 0;
constexpr std::uint16_t has_64_bit_entry = 1U << 0;
constexpr std::uint8_t undefined_loader = 0xff;
constexpr std::uint64_t entry_64_offset = 0x200;
constexpr std::uint64_t sector = 512;
constexpr unsigned default_setup_sectors = 4;

constexpr std::uint64_t mapped_gibibytes = 4;

/// The header's fields that matter, checked.
struct Header {
    std::uint64_t code_offset;
    std::uint64_t header_size;
    std::uint64_t load_address;
    std::uint64_t needed_size;
    std::uint64_t ram_disk_limit;
    std::uint64_t command_line_limit;
    bool has_64_bit_entry;
};

class HeaderReader {
public:
    explicit HeaderReader(const BootRequest& request) : request_(request), file_(request.kernel) {}

    [[nodiscard]] Header read() const {
        if (field<std::uint16_t>(boot_flag) != boot_flag_value ||
            field<std::uint32_t>(header_magic) != header_magic_value) {
            refuse_kernel(request_, "no boot signature", "the setup header of a bzImage");
        }
        const auto version = field<std::uint16_t>(protocol_version);
        if (version < oldest_version) {
            refuse_kernel(request_,
                fmt::format("boot protocol {}.{:02}", version >> 8, version & 0xff),
                "2.12 or later (Linux 3.8)");
        }
        if ((field<std::uint8_t>(load_flags) & loaded_high) == 0) {
            refuse_kernel(request_, "a zImage, which is loaded below 1 MiB", "a bzImage");
        }
        const unsigned sectors = field<std::uint8_t>(setup_sectors);
        Header header{};
        header.code_offset = ((sectors == 0 ? default_setup_sectors : sectors) + 1) * sector;
        header.header_size = header_magic + field<std::uint8_t>(header_end) - setup_sectors;
        header.load_address = load_address();
        header.needed_size = field<std::uint32_t>(needed_size);
        header.ram_disk_limit = std::uint64_t{field<std::uint32_t>(ram_disk_limit)} + 1;
        header.command_line_limit = field<std::uint32_t>(command_line_limit);
        header.has_64_bit_entry =
            (field<std::uint16_t>(extended_load_flags) & has_64_bit_entry) != 0;
        check(header);
        return header;
    }

private:
    template <typename T>
    [[nodiscard]] T field(std::uint64_t offset) const {
        const std::optional<T> value = file_.at<T>(offset);
        if (!value) {
            refuse_kernel(request_, fmt::format("{} bytes", file_.size()),
                "at least the setup header of a bzImage");
        }
        return *value;
    }

    [[nodiscard]] std::uint64_t load_address() const {
        const auto preferred = field<std::uint64_t>(preferred_address);
        const std::uint64_t alignment = field<std::uint32_t>(kernel_alignment);
        const bool is_movable = field<std::uint8_t>(relocatable) != 0;
        if (is_movable && (alignment == 0 || preferred % alignment != 0)) {
            refuse_kernel(request_,
                fmt::format("preferred address {:#x} with alignment {:#x}", preferred, alignment),
                "an address that is aligned");
        }
        return preferred;
    }

    void check(const Header& header) const {
        if (header.code_offset >= file_.size()) {
            refuse_kernel(request_, fmt::format("{} bytes", file_.size()),
                fmt::format("code after the {} bytes of setup", header.code_offset));
        }
        if (setup_sectors + header.header_size > longest_header_end) {
            refuse_kernel(request_, fmt::format("a setup header of {} bytes", header.header_size),
                fmt::format("at most {}", longest_header_end - setup_sectors));
        }
        const std::uint64_t code_size = file_.size() - header.code_offset;
        const std::uint64_t end = request_.layout.low_memory_end();
        if (header.load_address < MemoryLayout::extended_start) {
            refuse_kernel(request_, fmt::format("load address {:#x}", header.load_address),
                "one of 1 MiB or above");
        }
        if (header.needed_size < code_size) {
            refuse_kernel(request_,
                fmt::format(
                    "{} bytes of code and a stated need of {}", code_size, header.needed_size),
                "a need of no less than the code");
        }
        if (header.load_address >= end || end - header.load_address < header.needed_size) {
            throw LoadError(
                fmt::format("memory: found {} MiB, expected at least {} MiB, which kernel "
                            "{} needs to start; give the VM more with --memory",
                    end / mebibyte,
                    (header.load_address + header.needed_size + mebibyte - 1) / mebibyte,
                    request_.kernel_name));
        }
    }

    const BootRequest& request_;
    ImageReader file_;
};

/// The zero page, written field by field.
class ZeroPage {
public:
    template <typename T>
    void set(std::uint64_t offset, T value) {
        std::memcpy(bytes_.data() + offset, &value, sizeof(value));
    }
    void copy(std::uint64_t offset, std::span<const std::uint8_t> bytes) {
        std::memcpy(bytes_.data() + offset, bytes.data(), bytes.size());
    }
    void set_memory_map(const std::vector<MemoryMapEntry>& map) {
        std::uint64_t offset = zero_page_map;
        for (const MemoryMapEntry& entry : map) {
            set(offset, entry.range.start);
            set(offset + 8, entry.range.size);
            set(offset + 16, static_cast<std::uint32_t>(entry.type));
            offset += 20;
        }
        set(zero_page_map_count, static_cast<std::uint8_t>(map.size()));
    }
    [[nodiscard]] std::span<const std::uint8_t> bytes() const { return bytes_; }

private:
    std::array<std::uint8_t, boot_page> bytes_{};
};

/// Maps the first 4 GiB as they are, in pages of 2 MiB (AMD APM volume 2, 5.3).
void put_page_tables(GuestMemory& memory) {
    constexpr std::uint64_t present_writable = 3;
    constexpr std::uint64_t large = 1U << 7;
    constexpr std::uint64_t entries = 512;
    const std::uint64_t pointers = BootArea::page_tables + boot_page;
    const std::uint64_t directories = pointers + boot_page;
    put_value(memory, BootArea::page_tables, pointers | present_writable);
    for (std::uint64_t index = 0; index < mapped_gibibytes; ++index) {
        put_value(
            memory, pointers + index * 8, (directories + index * boot_page) | present_writable);
    }
    std::array<std::uint64_t, entries * mapped_gibibytes> table{};
    for (std::uint64_t index = 0; index < table.size(); ++index) {
        table[index] = index * 2 * mebibyte | large | present_writable;
    }
    put_value(memory, directories, table);
}

} // namespace

BootEntry load_bzimage(const BootRequest& request, GuestMemory& memory) {
    const Header header = HeaderReader(request).read();
    const ImageReader file(request.kernel);
    const std::uint64_t kernel_end = header.load_address + header.needed_size;

    put(memory, header.load_address, request.kernel.subspan(header.code_offset));
    put_command_line(request, header.command_line_limit, memory);
    const std::uint64_t ram_disk =
        put_initial_ram_disk(request, kernel_end, header.ram_disk_limit, memory);

    ZeroPage zero_page;
    if (const auto setup = file.part(setup_sectors, header.header_size)) {
        zero_page.copy(setup_sectors, *setup);
    } else {
        refuse_kernel(request, fmt::format("{} bytes", file.size()), "a whole setup header");
    }
    zero_page.set(loader_type, undefined_loader);
    zero_page.set(ram_disk_address, static_cast<std::uint32_t>(ram_disk));
    zero_page.set(ram_disk_size, static_cast<std::uint32_t>(request.initial_ram_disk.size()));
    zero_page.set(command_line_pointer, static_cast<std::uint32_t>(BootArea::command_line));
    zero_page.set(zero_page_rsdp, request.rsdp);
    zero_page.set_memory_map(request.layout.map());
    put(memory, BootArea::zero_page, zero_page.bytes());
    put_page_tables(memory);

    BootEntry entry;
    entry.rsi = BootArea::zero_page;
    entry.mode = header.has_64_bit_entry ? BootEntry::Mode::long_64 : BootEntry::Mode::protected_32;
    entry.address = header.load_address + (header.has_64_bit_entry ? entry_64_offset : 0);
    return entry;
}

} // namespace croft::worker
