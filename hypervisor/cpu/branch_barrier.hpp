// SPDX-License-Identifier: Apache-2.0
// The barrier between what one partition has taught the branch predictors and the next partition
// (APM vol. 2, 3.2.9: indirect branch prediction barrier).
#pragma once

namespace hypervisor::branch_barrier {

/// Looks whether this machine has it. Once, before the first issue().
void initialise();
/// Nothing where the processor has none.
void issue();

} // namespace hypervisor::branch_barrier
