// SPDX-License-Identifier: Apache-2.0
#pragma once

// The published interface, as far as a parent of partitions uses it.

#include "abi/exit_trace.h"
#include "abi/hypercall.h"
#include "abi/interrupt.h"
#include "abi/memory.h"
#include "abi/message.h"
#include "abi/partition.h"
#include "abi/port.h"
#include "abi/register.h"
#include "abi/status.h"
#include "abi/types.h"
