# SPDX-License-Identifier: Apache-2.0
# Turns a compiled table into a header: cmake -DINPUT=… -DOUTPUT=… -P embed_aml.cmake
file(READ "${INPUT}" hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
string(REGEX REPLACE "(................................................................................)"
                     "\\1\n    " bytes "${bytes}")
file(WRITE "${OUTPUT}"
     "// Made from dsdt.asl by iasl.\n#pragma once\n\n#include <cstdint>\n\n"
     "namespace croft::vdev {\n\ninline constexpr std::uint8_t dsdt_aml[] = {\n    ${bytes}\n};\n\n"
     "} // namespace croft::vdev\n")
