// SPDX-License-Identifier: Apache-2.0
#include "fuzz/hypervisor/fuzz_input.hpp"
#include "hypervisor/emulate/guest_page_walk.hpp"

using namespace hypervisor;
using fuzz::require;

namespace {

/// A guest's memory that shows something else at every look, all of it the fuzzer's choice.
class HostileMemory final {
public:
    explicit HostileMemory(fuzz::FuzzInput& input) : input_(input) {}

    std::optional<std::uint64_t> read_entry(std::uint64_t gpa, unsigned size) {
        check(gpa, size);
        ++reads_;
        const auto value = input_.take<std::uint64_t>();
        if (value == 0xFFFFFFFF) {
            return std::nullopt;
        }
        return size == 4 ? value & 0xFFFFFFFF : value;
    }

    std::optional<bool> compare_exchange_entry(
        std::uint64_t gpa, unsigned size, std::uint64_t expected, std::uint64_t desired) {
        check(gpa, size);
        constexpr std::uint64_t accessed_and_dirty = 0x60;
        require((expected & ~accessed_and_dirty) == (desired & ~accessed_and_dirty),
            "only accessed and dirty change");
        require((expected & ~desired) == 0, "they are only set");
        const auto answer = input_.take<std::uint8_t>() % 8;
        return answer == 0 ? std::nullopt : std::optional{answer < 6};
    }

    [[nodiscard]] unsigned reads() const { return reads_; }

private:
    static void check(std::uint64_t gpa, unsigned size) {
        require(size == 4 || size == 8, "a legal size");
        require(gpa % size == 0 && gpa >> 52 == 0, "a legal address");
    }

    fuzz::FuzzInput& input_;
    unsigned reads_ = 0;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::FuzzInput input{data, size};
    PagingState state{.cr0 = input.take<std::uint64_t>(),
        .cr3 = input.take<std::uint64_t>(),
        .cr4 = input.take<std::uint64_t>(),
        .efer = input.take<std::uint64_t>(),
        .rflags = input.take<std::uint64_t>(),
        .cpl = std::uint8_t(input.take<std::uint8_t>() & 3),
        .physical_bits = input.take<std::uint8_t>(),
        .gigabyte_pages = (input.take<std::uint8_t>() & 1) != 0};
    const auto choice = input.take<std::uint8_t>();
    if ((choice & 1) != 0) {
        state.pdptes = {input.take<std::uint64_t>(), input.take<std::uint64_t>(),
            input.take<std::uint64_t>(), input.take<std::uint64_t>()};
    }
    const PageAccess access{.kind = PageAccess::Kind((choice >> 1) % 3),
        .implicit_supervisor = (choice & 0x10) != 0,
        .ignore_permissions = (choice & 0x20) != 0};
    const auto policy = (choice & 0x40) != 0 ? AccessedDirty::update : AccessedDirty::leave;
    const auto address = input.take<std::uint64_t>();
    HostileMemory memory{input};
    const auto result = translate_guest_address(state, address, access, policy, memory);
    require(memory.reads() <= 40, "a bounded walk");
    if (result) {
        require(result->gpa >> 52 == 0, "a physical address");
        require(((result->gpa ^ address) & (result->page_size - 1)) == 0, "the offset stays");
    } else {
        require(result.error().error_code < 32, "a known error code");
    }
    return 0;
}
