// SPDX-License-Identifier: Apache-2.0
#pragma once

// The published interface is C and uses two things that C has and ISO C++ lacks: anonymous
// structures and flexible arrays.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"

#include "abi/hypercall.h"
#include "abi/interrupt.h"
#include "abi/memory.h"
#include "abi/message.h"
#include "abi/partition.h"
#include "abi/port.h"
#include "abi/register.h"
#include "abi/status.h"
#include "abi/types.h"

#pragma GCC diagnostic pop
