// SPDX-License-Identifier: Apache-2.0
//
// The kernel loaders against files that anybody may have made: LoadError is the only way out but
// success.
#include "worker/error.hpp"
#include "worker/loader/boot_image.hpp"

#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace croft::worker;
    static const MemoryLayout layout(32 * mebibyte);
    static GuestMemory memory(layout.ranges());
    try {
        (void)load_kernel(
            {
                .kernel_name = "input",
                .kernel = {data, size},
                .initial_ram_disk = {},
                .command_line = "console=ttyS0",
                .layout = layout,
                .rsdp = MemoryLayout::acpi_address,
            },
            memory);
    } catch (const LoadError&) { // as it should be
    }
    return 0;
}
