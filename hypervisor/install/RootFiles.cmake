# SPDX-License-Identifier: Apache-2.0

# Runs at installation: the root's kernel and file system, which the recipe makes or finds in its cache,
# go beside the hypervisor.
execute_process(
    COMMAND ${CMAKE_CURRENT_LIST_DIR}/../../root/build --root-only
    OUTPUT_VARIABLE made
    COMMAND_ERROR_IS_FATAL ANY)
foreach(name IN ITEMS kernel kernel_config filesystem)
    if(NOT made MATCHES "(^|\n)${name}=([^\n]+)")
        message(FATAL_ERROR "root/build named no ${name}; it said '${made}'")
    endif()
    set(${name} ${CMAKE_MATCH_2})
endforeach()

# A bzImage has at 0x20e where its release stands, less 0x200 (the kernel's Documentation/arch/x86/boot.rst).
file(READ ${kernel} place OFFSET 526 LIMIT 2 HEX)
string(REGEX REPLACE "(..)(..)" "0x\\2\\1" place ${place})
math(EXPR place "${place} + 0x200")
file(READ ${kernel} release OFFSET ${place} LIMIT 64)
string(REGEX MATCH "^[^ ]+" release "${release}")

foreach(pair IN ITEMS kernel:vmlinuz kernel_config:config filesystem:initrd.img)
    string(REGEX MATCH "(.*):(.*)" pair ${pair})
    file(INSTALL ${${CMAKE_MATCH_1}} DESTINATION /boot/undercroft TYPE FILE RENAME ${CMAKE_MATCH_2}-${release})
endforeach()
