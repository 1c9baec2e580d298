# SPDX-License-Identifier: Apache-2.0
include(CTest)
include(GoogleTest)
find_package(GTest REQUIRED)

# What the presets for unit tests build.
add_custom_target(unit_tests)

# croft_add_test(<name> [ONE_THREAD] SOURCES <file>… [LIBS <target>…])
#
# A GoogleTest program that runs on the build machine. Each of its cases becomes a CTest test of the
# name <name>.<Suite>.<Case> with the label "unit"; under the presets sanitize and tsan the name begins
# with "sanitized." and "threads.", so that one CTest run can hold all builds. With ONE_THREAD it has no
# other and takes long: it is built for the thread sanitizer, and not run under it. Release has no part
# in this: the lab and its programs' own tests show what is shipped (`tools/build release unit_tests`
# makes the tests all the same).
function(croft_add_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "ONE_THREAD" "" "SOURCES;LIBS")
    if(arg_UNPARSED_ARGUMENTS OR NOT arg_SOURCES)
        message(FATAL_ERROR "croft_add_test(${name}): found '${ARGN}', expected [ONE_THREAD] "
                            "SOURCES <file>… [LIBS <target>…]")
    endif()
    add_executable(${name} EXCLUDE_FROM_ALL ${arg_SOURCES})
    target_link_libraries(${name} PRIVATE croft_warnings ${arg_LIBS} GTest::gtest_main GTest::gmock)
    # GCC 12 sees overflows in its own std::vector where a test's short constants are inlined into
    # it; the sanitizers, under which every test runs too, would see a true one.
    target_compile_options(${name} PRIVATE -Wno-array-bounds -Wno-stringop-overflow)
    add_dependencies(unit_tests ${name})
    if(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo" OR (CROFT_SANITIZE STREQUAL "THREADS" AND arg_ONE_THREAD))
        return()
    endif()
    set(prefix "${name}.")
    if(CROFT_SANITIZE STREQUAL "THREADS")
        set(prefix "threads.${name}.")
    elseif(CROFT_SANITIZE)
        set(prefix "sanitized.${name}.")
    endif()
    gtest_discover_tests(
        ${name}
        TEST_PREFIX ${prefix}
        DISCOVERY_MODE PRE_TEST
        DISCOVERY_TIMEOUT 60
        PROPERTIES LABELS unit TIMEOUT 120)
endfunction()

find_package(Python3 REQUIRED COMPONENTS Interpreter)

# croft_add_python_tests(<label> <file>…)
#
# unittest files in Python, one CTest test each: <label>.<file name without test_ and _test>. With
# the label "lab" a test brings hosts up under the emulator, and what was built in this directory is
# what it boots. An emulated host keeps one processor busy, so as many run at a time as there are; they
# begin first, and the short tests fill what is left between them.
function(croft_add_python_tests label)
    if(CROFT_SANITIZE)
        return() # nothing in them is compiled
    endif()
    foreach(file IN LISTS ARGN)
        get_filename_component(name ${file} NAME_WE)
        string(REGEX REPLACE "^test_|_test$" "" name ${name})
        add_test(NAME ${label}.${name} COMMAND Python3::Interpreter -B ${file} -v)
        set_tests_properties(
            ${label}.${name}
            PROPERTIES
                LABELS ${label}
                TIMEOUT 120
                ENVIRONMENT "PYTHONPATH=${CMAKE_SOURCE_DIR};CROFT_BUILD=${CMAKE_BINARY_DIR}")
        if(label STREQUAL "lab")
            set_tests_properties(${label}.${name} PROPERTIES TIMEOUT 1800 COST 1000)
        endif()
    endforeach()
endfunction()
