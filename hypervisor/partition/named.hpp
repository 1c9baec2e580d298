// SPDX-License-Identifier: Apache-2.0
// Names in tables of the interface's numbers. The references in docs/ are made of them; the image
// is not to hold them.
#pragma once

namespace hypervisor {

#if __STDC_HOSTED__
using Name = const char*;
#else
struct Name {
    consteval Name(const char* /*text*/) {} // NOLINT(google-explicit-constructor)
};
#endif

} // namespace hypervisor

/// First, last and name of a row: of one number, or of several side by side.
#define NAMED(one) one, one, #one
#define NAMED_RANGE(from, to) from, to, #from " – " #to
