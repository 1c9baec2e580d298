// SPDX-License-Identifier: Apache-2.0
// Every hypercall of the hypervisor's table, with all that can be wrong with its form (TLFS
// "Hypercall Interface") and each bit of its input that must be zero, by a caller that may make it,
// or may not: a parent or a child. None of it reaches what the call does.
#include "abi/cpuid.h"
#include "hypervisor/hypercall/table.hpp"
#include "tests/guests/root/root.hpp"

namespace root {

namespace {

using hypervisor::CallEntry;

constexpr std::uint64_t nowhere = 1ull << 47; ///< an address, but of nothing
constexpr std::uint64_t beyond = 1ull << 48;  ///< none that there is
constexpr std::uint64_t most_reps = HV_HYPERCALL_REP_COUNT_MASK;

constexpr std::uint8_t nothing = 0xff; ///< who reads it finds nothing that exists

void fill_input(std::uint8_t value) {
    for (unsigned i = 0; i < HV_PAGE_SIZE; ++i) {
        input_page[i] = value;
    }
}

std::uint64_t privileges() {
    const bare_cpuid_result leaf = bare_cpuid(HV_CPUID_FEATURES, 0);
    return leaf.eax | static_cast<std::uint64_t>(leaf.ebx) << 32;
}

/// One row's calls. The first one that is not answered as it should be is told.
class Row {
public:
    explicit Row(const CallEntry& entry)
        : entry_{entry},
          is_allowed_{(privileges() & entry.privilege) == entry.privilege},
          shape_{entry.code | (entry.is_rep ? reps(1, 0) : 0)} {}

    /// \return whether all were.
    bool check() {
        check_control();
        check_input();
        check_output();
        if (entry_.input_size > fast_bytes || entry_.output_size != 0 ||
            entry_.rep_output_size != 0) {
            expect("fast", shape_ | HV_HYPERCALL_FAST, 0, 0, HV_STATUS_INVALID_HYPERCALL_INPUT);
        }
        check_reserved();
        return ok_;
    }

private:
    static constexpr unsigned fast_bytes = 16;

    static std::uint64_t reps(std::uint64_t count, std::uint64_t start) {
        return count << HV_HYPERCALL_REP_COUNT_SHIFT | start << HV_HYPERCALL_REP_START_SHIFT;
    }
    [[nodiscard]] unsigned input_size(unsigned count) const {
        return entry_.input_size + count * entry_.rep_input_size;
    }
    [[nodiscard]] unsigned output_size(unsigned count) const {
        return entry_.output_size + count * entry_.rep_output_size;
    }

    void check_control() {
        constexpr std::uint16_t wrong = HV_STATUS_INVALID_HYPERCALL_INPUT;
        for (unsigned bit = 0; bit < 64; ++bit) {
            if ((HV_HYPERCALL_RESERVED_MASK >> bit & 1) != 0) {
                expect("a reserved bit", shape_ | 1ull << bit, wrong);
            }
        }
        if (entry_.is_rep) {
            expect("no reps", entry_.code, wrong);
            expect("a start behind the last", entry_.code | reps(1, 1), wrong);
            expect("a start far behind", entry_.code | reps(1, most_reps), wrong);
            expect("a start without a count", entry_.code | reps(0, 1), wrong);
        } else {
            expect("a rep", entry_.code | reps(1, 0), wrong);
            expect("a start", entry_.code | reps(0, 1), wrong);
            expect("all reps", entry_.code | reps(most_reps, most_reps - 1), wrong);
        }
        if (!entry_.has_variable_header) {
            expect("a variable header", shape_ | 1ull << HV_HYPERCALL_VARIABLE_HEADER_SHIFT, wrong);
        } else {
            // All of the page's, and more.
            const std::uint64_t most = HV_HYPERCALL_VARIABLE_HEADER_MASK
                << HV_HYPERCALL_VARIABLE_HEADER_SHIFT;
            expect("a header beyond the page", shape_ | most, HV_STATUS_INVALID_ALIGNMENT);
        }
        if (entry_.rep_input_size != 0) {
            expect("a list beyond the page", entry_.code | reps(most_reps, 0),
                HV_STATUS_INVALID_ALIGNMENT);
        }
    }

    void check_input() {
        const unsigned size = input_size(entry_.is_rep ? 1 : 0);
        if (size == 0) {
            return;
        }
        const std::uint64_t good = address(output_page);
        const std::uint64_t page = address(input_page);
        for (unsigned offset = 1; offset < 8; ++offset) {
            expect("input that is not aligned", shape_, page + offset, good,
                HV_STATUS_INVALID_ALIGNMENT);
        }
        if (size > 8) {
            expect("input across a page's end", shape_, page + HV_PAGE_SIZE - ((size - 1) & ~7u),
                good, HV_STATUS_INVALID_ALIGNMENT);
        }
        expect("input beyond all", shape_, beyond, good, HV_STATUS_INVALID_ALIGNMENT);
        expect("input at the end", shape_, ~7ull, good, HV_STATUS_INVALID_ALIGNMENT);
        expect("input nowhere", shape_, nowhere, good, HV_STATUS_INVALID_HYPERCALL_INPUT);
    }

    void check_output() {
        const unsigned size = output_size(entry_.is_rep ? 1 : 0);
        if (size == 0) {
            return;
        }
        const std::uint64_t good = address(input_page);
        const std::uint64_t page = address(output_page);
        for (unsigned offset = 1; offset < 8; ++offset) {
            expect("output that is not aligned", shape_, good, page + offset,
                HV_STATUS_INVALID_ALIGNMENT);
        }
        if (size > 8) {
            expect("output across a page's end", shape_, good,
                page + HV_PAGE_SIZE - ((size - 1) & ~7u), HV_STATUS_INVALID_ALIGNMENT);
        }
        expect("output beyond all", shape_, good, beyond, HV_STATUS_INVALID_ALIGNMENT);
        expect("output nowhere", shape_, good, nowhere, HV_STATUS_INVALID_HYPERCALL_INPUT);
    }

    void check_reserved() {
        for (const hypervisor::ReservedBits& bits : hypervisor::hypercall::reserved_bits(entry_)) {
            for (unsigned bit = 0; bit < 64; ++bit) {
                if ((bits.mask >> bit & 1) == 0) {
                    continue;
                }
                fill_input(0);
                put(1ull << bit, bits.offset);
                expect("a bit that must be zero", shape_, bits.status);
            }
        }
        fill_input(nothing);
    }

    void expect(const char* what, std::uint64_t control, std::uint16_t status) {
        expect(what, control, address(input_page), address(output_page), status);
    }
    void expect(const char* what, std::uint64_t control, std::uint64_t input, std::uint64_t output,
        std::uint16_t status) {
        const std::uint16_t wanted = is_allowed_ ? status : HV_STATUS_ACCESS_DENIED;
        const Result result = call_word(control, input, output);
        if (ok_ && (result.status != wanted || result.reps != 0)) {
            bare_print("# %s with %s: status %x, reps %u, expected %x, 0\n", entry_.name, what,
                static_cast<unsigned>(result.status), result.reps, static_cast<unsigned>(wanted));
            ok_ = false;
        }
    }

    const CallEntry& entry_;
    bool is_allowed_;
    std::uint64_t shape_;
    bool ok_ = true;
};

/// What no row is about: a code is 16 bits wide.
bool refuses_unknown_codes() {
    bool all = true;
    const auto rows = hypervisor::hypercall::table();
    std::size_t next = 0;
    for (unsigned code = 0; code < 0x10000; ++code) {
        if (next < rows.size() && rows[next].code == code) {
            ++next;
            continue;
        }
        const Result result = call_word(code, address(input_page), address(output_page));
        if (result.status != HV_STATUS_INVALID_HYPERCALL_CODE) {
            bare_print("# code %x: status %x\n", code, static_cast<unsigned>(result.status));
            all = false;
        }
    }
    return all;
}

} // namespace

void check_malformed_calls() {
    fill_input(nothing);
    for (const CallEntry& entry : hypervisor::hypercall::table()) {
        check(check_words(entry.name, "refuses what is malformed"), Row{entry}.check());
    }
    check("codes that the table has not are refused", refuses_unknown_codes());
}

} // namespace root
