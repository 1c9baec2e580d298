# SPDX-License-Identifier: Apache-2.0

# croft_warnings: link it (PRIVATE) to every target that compiles code of ours.
add_library(croft_warnings INTERFACE)
target_compile_options(
    croft_warnings
    INTERFACE
        $<$<COMPILE_LANGUAGE:C,CXX>:-Wall;-Wextra;-Wpedantic;-Werror;-Wshadow;-Wconversion;-Wsign-conversion;-Wcast-align;-Wcast-qual;-Wdouble-promotion;-Wformat=2;-Wimplicit-fallthrough;-Wundef;-Wduplicated-cond;-Wduplicated-branches;-Wlogical-op;-Wvla;-Wmissing-declarations>
        $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor;-Wold-style-cast;-Woverloaded-virtual;-Wsuggest-override;-Wextra-semi;-Wredundant-tags>
        $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes;-Wmissing-prototypes>)
