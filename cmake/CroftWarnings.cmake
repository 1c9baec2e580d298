# SPDX-License-Identifier: Apache-2.0

# croft_warnings: link it (PRIVATE) to every target that compiles code of ours.
add_library(croft_warnings INTERFACE)
target_compile_options(
    croft_warnings
    INTERFACE
        $<$<COMPILE_LANGUAGE:C,CXX>:-Wall;-Wextra;-Wpedantic;-Werror;-Wconversion;-Wsign-conversion;-Wcast-align;-Wcast-qual;-Wdouble-promotion;-Wformat=2;-Wimplicit-fallthrough;-Wundef;-Wduplicated-cond;-Wduplicated-branches;-Wlogical-op;-Wvla;-Wmissing-declarations>
        $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor;-Wold-style-cast;-Woverloaded-virtual;-Wsuggest-override;-Wextra-semi;-Wredundant-tags>
        $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes;-Wmissing-prototypes>)
# Sources that are compiled as one see each other's local names; a build of each by itself finds what
# hides what.
if(NOT CMAKE_UNITY_BUILD)
    target_compile_options(croft_warnings INTERFACE $<$<COMPILE_LANGUAGE:C,CXX>:-Wshadow>)
endif()
