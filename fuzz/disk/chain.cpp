// SPDX-License-Identifier: Apache-2.0
#include "disk/open.hpp"
#include "disk/vhd/create.hpp"
#include "disk/vhdx/create.hpp"
#include "fuzz/disk/patched.hpp"

#include <map>
#include <string>

namespace croft::disk::fuzz {
namespace {

constexpr std::uint64_t disk_size = 1U << 20U;

// What one image says of its parent.
struct Link {
    bool is_child = false;
    Guid parent;
    std::string path;
};

Link take_link(Input& input, const std::array<Guid, 4>& identities) {
    const std::uint8_t how = input.byte();
    if ((how & 1U) == 0)
        return {};
    const auto path = input.take(input.byte() % 32U);
    std::string text(path.size(), '\0');
    std::ranges::transform(path, text.begin(), [](std::byte b) { return char(b); });
    if ((how & 2U) != 0)
        text = ".\\" + std::to_string(how >> 2U & 3U);
    else
        text += "x";
    return {true, identities[how >> 4U & 3U], text};
}

void make(Store& store, bool vhd, const Guid& identity, const Link& link) {
    if (vhd) {
        vhd::CreateOptions options{.size = disk_size};
        options.unique_id = identity;
        options.block_size = 64U << 10U;
        if (link.is_child) {
            options.type = vhd::DiskType::differencing;
            options.parent_id = link.parent;
            options.parent_time_stamp = 1;
            options.parent_relative_path = link.path;
        }
        static_cast<void>(vhd::create(store, options));
        return;
    }
    vhdx::CreateOptions options{.size = disk_size};
    options.data_write_guid = identity;
    if (link.is_child)
        options.parent_locator = {
            {"parent_linkage", "{" + link.parent.text() + "}"}, {"relative_path", link.path}};
    static_cast<void>(vhdx::create(store, options));
}

} // namespace
} // namespace croft::disk::fuzz

// Images whose parents are where the fuzzer says: loops, strangers, paths of any kind, now and then
// a parent of the other format.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace croft::disk;
    fuzz::Input input{data, size};
    std::map<std::string, std::shared_ptr<test::MemoryStore::Contents>> files;
    std::array<Guid, 4> identities;
    for (std::size_t i = 0; i < identities.size(); ++i)
        identities[i].bytes[0] = static_cast<std::uint8_t>(i + 1);
    const std::uint8_t formats = input.byte();
    for (unsigned i = 0; i < identities.size(); ++i) {
        const fuzz::Link link = fuzz::take_link(input, identities);
        const std::string name = std::to_string(i);
        files[name] = std::make_shared<test::MemoryStore::Contents>();
        test::MemoryStore store{files[name]};
        fuzz::make(store, (formats >> i & 1U) != 0, identities[i], link);
    }
    const StoreOpener opener = [&](const std::string& path, bool write, bool,
                                   bool) -> Result<std::unique_ptr<Store>> {
        const auto found = files.find(path);
        if (found == files.end())
            return std::unexpected(Error::of(ErrorCode::not_found, path, "open"));
        return std::make_unique<test::MemoryStore>(found->second, !write);
    };
    auto chain = open_chain("0", {}, opener);
    if (chain) {
        std::vector<std::byte> bytes(4096);
        static_cast<void>((*chain)->read(0, bytes));
    }
    return 0;
}
