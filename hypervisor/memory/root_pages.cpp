// SPDX-License-Identifier: Apache-2.0
#include "hypervisor/memory/root_pages.hpp"

namespace hypervisor {

bool RootPages::take(SpaPage page, std::uint16_t owner) {
    if (!records_.try_take(page, owner)) {
        return false;
    }
    ReleaseList released;
    const SpinGuard guard{lock_};
    if (root_.unmap(GpaPage{page.number()}, released) != Status::success) {
        records_.give_back(page);
        return false;
    }
    return true;
}

void RootPages::give_back(SpaPage page) {
    clear_page(page);
    give_back_unused(page);
}

void RootPages::give_back_unused(SpaPage page) {
    constexpr std::uint32_t all = HV_MAP_GPA_READABLE | HV_MAP_GPA_WRITABLE | HV_MAP_GPA_EXECUTABLE;
    records_.give_back(page);
    ReleaseList released;
    const SpinGuard guard{lock_};
    // Cannot fail: the table was made when the page was taken.
    (void)root_.map(GpaPage{page.number()}, page, all, released);
}

} // namespace hypervisor
