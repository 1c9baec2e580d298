// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/partition/cpuid_policy.hpp"

#include <algorithm>

namespace hypervisor::cpuid_policy {

namespace {

template <class... Bit>
consteval std::uint32_t bits(Bit... bit) {
    return (0u | ... | (1u << bit));
}
constexpr std::uint32_t all = ~0u;
constexpr std::uint32_t any_subleaf = ~0u;

/// The bits of each register that may be seen.
struct Mask {
    std::uint32_t eax = 0;
    std::uint32_t ebx = 0;
    std::uint32_t ecx = 0;
    std::uint32_t edx = 0;
};
constexpr Mask everything{all, all, all, all};

struct Row {
    std::uint32_t leaf;
    std::uint32_t subleaf;
    Mask root;
    Mask child;
};

constexpr Row same(std::uint32_t leaf, std::uint32_t subleaf, Mask mask) {
    return {leaf, subleaf, mask, mask};
}
constexpr Row root_only(std::uint32_t leaf) {
    return {leaf, any_subleaf, everything, {}};
}

// Leaf 1. ECX: SSE3, PCLMULQDQ, SSSE3, FMA, CMPXCHG16B, PCID, SSE4.1, SSE4.2, MOVBE, POPCNT, AES,
// XSAVE, AVX, F16C, RDRAND. EDX: all up to CLFLUSH but what was never defined, MMX, FXSAVE, SSE,
// SSE2, HTT; for the root also ACPI's thermal control.
constexpr std::uint32_t ecx1 = bits(0, 1, 9, 12, 13, 17, 19, 20, 22, 23, 25, 26, 28, 29, 30);
constexpr std::uint32_t edx1 =
    bits(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 19, 23, 24, 25, 26, 28);
constexpr std::uint32_t edx1_root = edx1 | bits(22);
// Leaf 7. EBX: FSGSBASE, BMI1, AVX2, SMEP, BMI2, ERMS, INVPCID, AVX-512 F and DQ, RDSEED, ADX,
// SMAP, AVX-512 IFMA, CLFLUSHOPT, CLWB, AVX-512 PF, ER and CD, SHA, AVX-512 BW and VL.
constexpr std::uint32_t ebx7 =
    bits(0, 3, 5, 7, 8, 9, 10, 16, 17, 18, 19, 20, 21, 23, 24, 26, 27, 28, 29, 30, 31);
// ECX: AVX-512 VBMI, UMIP, VBMI2, GFNI, VAES, VPCLMULQDQ, AVX-512 VNNI, BITALG, VPOPCNTDQ, RDPID,
// MOVDIRI, MOVDIR64B. Not protection keys, shadow stacks and 57-bit addresses: the walk of a
// guest's page tables does not know them.
constexpr std::uint32_t ecx7 = bits(1, 2, 6, 8, 9, 10, 11, 12, 14, 22, 27, 28);
// EDX: AVX-512 4VNNIW and 4FMAPS, fast short REP MOV, AVX-512 VP2INTERSECT, SERIALIZE.
constexpr std::uint32_t edx7 = bits(2, 3, 4, 8, 14);
// Leaf 7, subleaf 1. EAX: AVX-VNNI, AVX-512 BF16, fast zero-length REP MOVSB, fast short REP STOSB,
// CMPSB.
constexpr std::uint32_t eax7_1 = bits(4, 5, 10, 11, 12);
// Leaf 0xD, subleaf 1. EAX: XSAVEOPT, XSAVEC, XGETBV of 1. No XSAVES: there are no supervisor
// states.
constexpr std::uint32_t eax_d_1 = bits(0, 1, 2);
// Leaf 0x80000001. ECX: LAHF, core count, MOV CR8, ABM, SSE4A, misaligned SSE, PREFETCHW, XOP,
// FMA4, TCE, TBM, topology leaves; for the root also OS-visible workarounds. EDX: as leaf 1, and
// SYSCALL, NX, MMX extensions, FXSAVE optimisation, 1 GiB pages, RDTSCP, long mode, 3DNow!.
constexpr std::uint32_t ecx_e1 = bits(0, 1, 4, 5, 6, 7, 8, 11, 16, 17, 21, 22);
constexpr std::uint32_t ecx_e1_root = ecx_e1 | bits(9);
constexpr std::uint32_t edx_e1 = bits(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 20,
    22, 23, 24, 25, 26, 27, 29, 30, 31);
// Leaf 0x80000007. EDX: the time-stamp counter's rate is constant. For the root all but what it
// would control by MSRs that it can't write: frequency, voltage, core performance boost.
constexpr std::uint32_t edx_e7 = bits(8);
constexpr std::uint32_t edx_e7_root = ~bits(1, 2, 9);
// Leaf 0x80000008. EBX: CLZERO, error pointers restored, WBNOINVD, and facts about the processor
// that no register belongs to: no LMSLE, same mode for IBRS, no store bypass, no branch type
// confusion; not CPPC, whose MSRs can't be written. ECX is shaped for a child.
constexpr std::uint32_t ebx_e8 = bits(0, 2, 9, 19, 20, 26, 29);
constexpr std::uint32_t ecx_e8 = 0xf0ff;
// Leaf 0x80000021. EAX: no nested data breakpoints, LFENCE serializes, a null selector clears the
// base.
constexpr std::uint32_t eax_e21 = bits(0, 2, 6);

// In the order of leaves.
constexpr Row rows[] = {
    same(0x00, any_subleaf, everything),
    {0x01, any_subleaf, {all, all, ecx1, edx1_root}, {all, 0xffff, ecx1, edx1}},
    root_only(0x02),
    root_only(0x04),
    // A child's APIC timer runs in all sleep states.
    {0x06, any_subleaf, everything, {bits(2), 0, 0, 0}},
    same(0x07, 0, {all, ebx7, ecx7, edx7}),
    same(0x07, 1, {eax7_1, 0, 0, 0}),
    root_only(0x0b),
    same(0x0d, 0, everything),
    same(0x0d, 1, {eax_d_1, all, 0, 0}),
    same(0x0d, any_subleaf, everything),
    root_only(0x15),
    root_only(0x16),
    root_only(0x1f),
    same(0x80000000, any_subleaf, everything),
    {0x80000001, any_subleaf, {all, all, ecx_e1_root, edx_e1}, {all, all, ecx_e1, edx_e1}},
    same(0x80000002, any_subleaf, everything),
    same(0x80000003, any_subleaf, everything),
    same(0x80000004, any_subleaf, everything),
    same(0x80000005, any_subleaf, everything),
    same(0x80000006, any_subleaf, everything),
    {0x80000007, any_subleaf, {all, all, all, edx_e7_root}, {0, 0, 0, edx_e7}},
    {0x80000008, any_subleaf, {all, ebx_e8, all, 0}, {all, ebx_e8, ecx_e8, 0}},
    same(0x80000019, any_subleaf, everything),
    same(0x8000001a, any_subleaf, everything),
    same(0x8000001d, any_subleaf, everything),
    root_only(0x8000001e),
    same(0x80000021, any_subleaf, {eax_e21, 0, 0, 0}),
    root_only(0x80000026),
};

const Row* find(std::uint32_t leaf, std::uint32_t subleaf) {
    for (const Row& row : rows) {
        if (row.leaf == leaf && (row.subleaf == subleaf || row.subleaf == any_subleaf)) {
            return &row;
        }
    }
    return nullptr;
}

enum class Output : std::uint8_t { eax, ebx, ecx, edx };

/// Where CPUID tells of a feature that has a name in the published interface.
struct Feature {
    std::uint8_t bank;
    std::uint8_t bit;
    std::uint32_t leaf;
    std::uint32_t subleaf;
    Output output;
    std::uint32_t mask;
};

constexpr std::uint8_t xsave_bank = HV_PARTITION_PROCESSOR_FEATURES_BANKS;

// Bits of union hv_partition_processor_features and of hv_partition_processor_xsave_features
// (upstream Linux, include/hyperv/hvhdk.h). Where several features stand on one, the first tells
// of it.
constexpr Feature features[] = {
    {0, 0, 1, 0, Output::ecx, bits(0)},            // SSE3
    {0, 1, 0x80000001, 0, Output::ecx, bits(0)},   // LAHF
    {0, 2, 1, 0, Output::ecx, bits(9)},            // SSSE3
    {0, 3, 1, 0, Output::ecx, bits(19)},           // SSE4.1
    {0, 4, 1, 0, Output::ecx, bits(20)},           // SSE4.2
    {0, 5, 0x80000001, 0, Output::ecx, bits(6)},   // SSE4A
    {0, 6, 0x80000001, 0, Output::ecx, bits(11)},  // XOP
    {0, 7, 1, 0, Output::ecx, bits(23)},           // POPCNT
    {0, 8, 1, 0, Output::ecx, bits(13)},           // CMPXCHG16B
    {0, 9, 0x80000001, 0, Output::ecx, bits(4)},   // MOV CR8
    {0, 10, 0x80000001, 0, Output::ecx, bits(5)},  // LZCNT
    {0, 11, 0x80000001, 0, Output::ecx, bits(7)},  // misaligned SSE
    {0, 12, 0x80000001, 0, Output::edx, bits(22)}, // MMX extensions
    {0, 13, 0x80000001, 0, Output::edx, bits(31)}, // 3DNow!
    {0, 14, 0x80000001, 0, Output::edx, bits(30)}, // 3DNow! extensions
    {0, 15, 0x80000001, 0, Output::edx, bits(26)}, // 1 GiB pages
    {0, 16, 1, 0, Output::ecx, bits(25)},          // AES
    {0, 17, 1, 0, Output::ecx, bits(1)},           // PCLMULQDQ
    {0, 18, 1, 0, Output::ecx, bits(17)},          // PCID
    {0, 19, 0x80000001, 0, Output::ecx, bits(16)}, // FMA4
    {0, 20, 1, 0, Output::ecx, bits(29)},          // F16C
    {0, 21, 1, 0, Output::ecx, bits(30)},          // RDRAND
    {0, 22, 7, 0, Output::ebx, bits(0)},           // FSGSBASE
    {0, 23, 7, 0, Output::ebx, bits(7)},           // SMEP
    {0, 24, 7, 0, Output::ebx, bits(9)},           // enhanced REP MOVSB
    {0, 25, 7, 0, Output::ebx, bits(3)},           // BMI1
    {0, 26, 7, 0, Output::ebx, bits(8)},           // BMI2
    {0, 29, 1, 0, Output::ecx, bits(22)},          // MOVBE
    {0, 32, 7, 0, Output::ebx, bits(18)},          // RDSEED
    {0, 33, 7, 0, Output::ebx, bits(19)},          // ADX
    {0, 34, 0x80000001, 0, Output::ecx, bits(8)},  // PREFETCHW
    {0, 35, 7, 0, Output::ebx, bits(20)},          // SMAP
    {0, 38, 0x80000001, 0, Output::edx, bits(27)}, // RDTSCP
    {0, 39, 7, 0, Output::ebx, bits(23)},          // CLFLUSHOPT
    {0, 40, 7, 0, Output::ebx, bits(24)},          // CLWB
    {0, 41, 7, 0, Output::ebx, bits(29)},          // SHA
    {0, 43, 7, 0, Output::ebx, bits(10)},          // INVPCID
    {0, 49, 7, 0, Output::edx, bits(4)},           // fast short REP MOV
    {0, 57, 7, 0, Output::ecx, bits(22)},          // RDPID
    {0, 58, 7, 0, Output::ecx, bits(2)},           // UMIP
    {1, 1, 0x80000007, 0, Output::edx, bits(8)},   // time-stamp counter of constant rate
    {1, 2, 0x80000008, 0, Output::ebx, bits(0)},   // CLZERO
    {1, 13, 7, 0, Output::ecx, bits(27)},          // MOVDIRI
    {1, 14, 7, 0, Output::ecx, bits(28)},          // MOVDIR64B
    {1, 16, 7, 0, Output::edx, bits(14)},          // SERIALIZE
    {1, 19, 7, 1, Output::eax, bits(10)},          // fast zero-length REP MOVSB
    {1, 20, 7, 1, Output::eax, bits(11)},          // fast short REP STOSB
    {1, 21, 7, 1, Output::eax, bits(12)},          // fast short REP CMPSB
    {xsave_bank, 0, 1, 0, Output::ecx, bits(26)},  // XSAVE
    {xsave_bank, 1, 0xd, 1, Output::eax, bits(0)}, // XSAVEOPT
    {xsave_bank, 2, 1, 0, Output::ecx, bits(28)},  // AVX, and what stands on it
    {xsave_bank, 2, 1, 0, Output::ecx, bits(12, 29)},
    {xsave_bank, 2, 0x80000001, 0, Output::ecx, bits(11, 16)},
    {xsave_bank, 2, 7, 0, Output::ebx, bits(5, 16, 17, 21, 26, 27, 28, 30, 31)},
    {xsave_bank, 2, 7, 0, Output::ecx, bits(1, 6, 9, 10, 11, 12, 14)},
    {xsave_bank, 2, 7, 0, Output::edx, bits(2, 3, 8)},
    {xsave_bank, 2, 7, 1, Output::eax, bits(4, 5)},
    {xsave_bank, 3, 7, 0, Output::ebx, bits(5)},  // AVX2
    {xsave_bank, 4, 1, 0, Output::ecx, bits(12)}, // FMA
    {xsave_bank, 6, 7, 0, Output::ebx, bits(16)}, // AVX-512 F, and what stands on it
    {xsave_bank, 6, 7, 0, Output::ebx, bits(17, 21, 26, 27, 28, 30, 31)},
    {xsave_bank, 6, 7, 0, Output::ecx, bits(1, 6, 11, 12, 14)},
    {xsave_bank, 6, 7, 0, Output::edx, bits(2, 3, 8)}, {xsave_bank, 6, 7, 1, Output::eax, bits(5)},
    {xsave_bank, 7, 7, 0, Output::ebx, bits(17)},   // AVX-512 DQ
    {xsave_bank, 8, 7, 0, Output::ebx, bits(28)},   // AVX-512 CD
    {xsave_bank, 9, 7, 0, Output::ebx, bits(30)},   // AVX-512 BW
    {xsave_bank, 10, 7, 0, Output::ebx, bits(31)},  // AVX-512 VL
    {xsave_bank, 11, 0xd, 1, Output::eax, bits(1)}, // XSAVEC
    {xsave_bank, 13, 0xd, 1, Output::eax, bits(2)}, // XGETBV of 1
    {xsave_bank, 14, 7, 0, Output::ecx, bits(12)},  // AVX-512 BITALG
    {xsave_bank, 15, 7, 0, Output::ebx, bits(21)},  // AVX-512 IFMA
    {xsave_bank, 16, 7, 0, Output::ecx, bits(1)},   // AVX-512 VBMI
    {xsave_bank, 17, 7, 0, Output::ecx, bits(6)},   // AVX-512 VBMI2
    {xsave_bank, 18, 7, 0, Output::ecx, bits(11)},  // AVX-512 VNNI
    {xsave_bank, 19, 7, 0, Output::ecx, bits(8)},   // GFNI
    {xsave_bank, 20, 7, 0, Output::ecx, bits(9)},   // VAES
    {xsave_bank, 21, 7, 0, Output::ecx, bits(14)},  // AVX-512 VPOPCNTDQ
    {xsave_bank, 22, 7, 0, Output::ecx, bits(10)},  // VPCLMULQDQ
    {xsave_bank, 23, 7, 1, Output::eax, bits(5)},   // AVX-512 BF16
    {xsave_bank, 24, 7, 0, Output::edx, bits(8)},   // AVX-512 VP2INTERSECT
    {xsave_bank, 30, 7, 1, Output::eax, bits(4)},   // AVX-VNNI
};

std::uint32_t& output_of(CpuidResult& result, Output output) {
    switch (output) {
    case Output::eax:
        return result.eax;
    case Output::ebx:
        return result.ebx;
    case Output::ecx:
        return result.ecx;
    case Output::edx:
        break;
    }
    return result.edx;
}

constexpr std::uint64_t xsave_feature = 1u << 0;
constexpr std::uint64_t avx_feature = 1u << 2;
constexpr std::uint64_t avx512_feature = 1u << 6;
constexpr std::uint64_t state_x87_and_sse = 3;
constexpr std::uint64_t states_avx512 = 7u << 5;
constexpr std::uint32_t last_subleaf_of_7 = 1;

/// Without XSAVE nothing that needs it to be saved is there either.
std::uint64_t effective_xsave(const DisabledFeatures& disabled) {
    return (disabled.xsave & xsave_feature) != 0 ? ~std::uint64_t{0} : disabled.xsave;
}

void take_away(
    CpuidResult& r, std::uint32_t leaf, std::uint32_t subleaf, const DisabledFeatures& disabled) {
    const std::uint64_t xsave = effective_xsave(disabled);
    for (const Feature& feature : features) {
        const std::uint64_t bank =
            feature.bank == xsave_bank ? xsave : disabled.banks[feature.bank];
        if (feature.leaf == leaf &&
            (leaf >= 0x80000000 || leaf == 1 || feature.subleaf == subleaf) &&
            (bank >> feature.bit & 1) != 0) {
            output_of(r, feature.output) &= ~feature.mask;
        }
    }
}

std::uint64_t features_of(unsigned bank, const DisabledFeatures& disabled, Query query) {
    std::uint64_t result = 0;
    std::uint64_t told = 0;
    for (const Feature& feature : features) {
        if (feature.bank != bank || (told >> feature.bit & 1) != 0) {
            continue;
        }
        told |= 1ull << feature.bit;
        CpuidResult r = visible(query(feature.leaf, feature.subleaf), feature.leaf, feature.subleaf,
            Audience::child, disabled);
        if ((output_of(r, feature.output) & feature.mask) != 0) {
            result |= 1ull << feature.bit;
        }
    }
    return result;
}

} // namespace

CpuidResult visible(const CpuidResult& hardware, std::uint32_t leaf, std::uint32_t subleaf,
    Audience audience, const DisabledFeatures& disabled) {
    const Row* const row = find(leaf, subleaf);
    if (row == nullptr) {
        return {};
    }
    const Mask& mask = audience == Audience::root ? row->root : row->child;
    CpuidResult r{.eax = hardware.eax & mask.eax,
        .ebx = hardware.ebx & mask.ebx,
        .ecx = hardware.ecx & mask.ecx,
        .edx = hardware.edx & mask.edx};
    if (leaf == 7 && subleaf == 0) {
        r.eax = std::min(r.eax, last_subleaf_of_7);
    }
    take_away(r, leaf, subleaf, disabled);
    return r;
}

std::uint64_t states(std::uint64_t supported, const DisabledFeatures& disabled) {
    const std::uint64_t xsave = effective_xsave(disabled);
    if ((xsave & avx_feature) != 0) {
        return supported & state_x87_and_sse;
    }
    return (xsave & avx512_feature) != 0 ? supported & ~states_avx512 : supported;
}

std::uint64_t processor_features(unsigned bank, const DisabledFeatures& disabled, Query query) {
    return features_of(bank, disabled, query);
}

std::uint64_t xsave_features(const DisabledFeatures& disabled, Query query) {
    return features_of(xsave_bank, disabled, query);
}

} // namespace hypervisor::cpuid_policy
