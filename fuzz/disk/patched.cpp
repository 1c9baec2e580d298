// SPDX-License-Identifier: Apache-2.0
#include "fuzz/disk/patched.hpp"

#include "disk/check.hpp"
#include "disk/open.hpp"

#include <vector>

namespace croft::disk::fuzz {

void exercise(const std::shared_ptr<test::MemoryStore::Contents>& contents, bool write) {
    const StoreOpener opener = [&](const std::string&, bool writable, bool,
                                   bool) -> Result<std::unique_ptr<Store>> {
        return std::make_unique<test::MemoryStore>(contents, !writable);
    };
    auto opened = open_chain("disk", {.write = write, .with_parents = false}, opener);
    if (!opened)
        return;
    Chain& chain = **opened;
    static_cast<void>(write ? repair(chain.top()) : check(chain.top()));
    const std::uint64_t sector = chain.top().info().logical_sector_size;
    std::vector<std::byte> bytes(16 * sector);
    const std::uint64_t last = chain.size() > bytes.size() ? chain.size() - bytes.size() : 0;
    for (const std::uint64_t offset : {std::uint64_t{0}, last / 2 / sector * sector, last}) {
        if (offset + bytes.size() > chain.size())
            continue;
        static_cast<void>(chain.read(offset, bytes));
        if (write)
            static_cast<void>(chain.write(offset, bytes));
    }
    if (!write)
        return;
    static_cast<void>(chain.discard(0, std::min<std::uint64_t>(chain.size(), 4U << 20U)));
    static_cast<void>(chain.flush());
    static_cast<void>(chain.close());
}

} // namespace croft::disk::fuzz
