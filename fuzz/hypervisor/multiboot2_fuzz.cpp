// SPDX-License-Identifier: Apache-2.0
// The input is a Multiboot2 information structure, but for its first word.
#include "fuzz/hypervisor/fuzz_input.hpp"
#include "hypervisor/boot/multiboot2.hpp"

#include <cstring>
#include <memory>

using namespace hypervisor;
using fuzz::require;

namespace {

void check(const BootInformation& boot, const std::uint8_t* begin, const std::uint8_t* end) {
    const auto is_inside = [&](std::string_view text) {
        const auto* const at = reinterpret_cast<const std::uint8_t*>(text.data());
        return text.data() == nullptr || (at >= begin && at + text.size() <= end);
    };
    require(is_inside(boot.command_line), "the command line is the loader's");
    require(boot.module_count <= boot.modules.size(), "so many modules");
    for (const BootModule& module : std::span{boot.modules}.first(boot.module_count)) {
        require(module.begin <= module.end, "a module begins before it ends");
        require(is_inside(module.arguments), "the module's words are the loader's");
    }
    std::uint64_t last = 0;
    require(!boot.memory.ranges().empty(), "a map without memory is none");
    for (const MemoryRange& range : boot.memory.ranges()) {
        require(range.begin >= last && range.end > range.begin, "ranges ascend");
        last = range.end;
    }
    MemoryMap free;
    (void)boot.free_memory(free);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < sizeof(std::uint64_t)) {
        return 0;
    }
    // To the byte, so that reading too far is seen; the loader's is aligned as this is.
    const auto bytes = std::make_unique<std::uint8_t[]>(size);
    std::memcpy(bytes.get(), data, size);
    const auto total = static_cast<std::uint32_t>(size);
    std::memcpy(bytes.get(), &total, sizeof total);
    const auto boot = read_multiboot2(reinterpret_cast<std::uint64_t>(bytes.get()));
    if (boot) {
        check(*boot, bytes.get(), bytes.get() + size);
    } else {
        require(!boot.error().empty(), "what is wrong is said");
    }
    return 0;
}
