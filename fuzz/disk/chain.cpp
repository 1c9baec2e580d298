// SPDX-License-Identifier: Apache-2.0
#include "disk/open.hpp"
#include "disk/vhdx/create.hpp"
#include "fuzz/disk/patched.hpp"

#include <map>
#include <string>

// Images whose parents are where the fuzzer says: loops, strangers, paths of any kind.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace croft::disk;
    fuzz::Input input{data, size};
    std::map<std::string, std::shared_ptr<test::MemoryStore::Contents>> files;
    std::array<Guid, 4> identities;
    for (std::size_t i = 0; i < identities.size(); ++i)
        identities[i].bytes[0] = static_cast<std::uint8_t>(i + 1);
    for (unsigned i = 0; i < identities.size(); ++i) {
        vhdx::CreateOptions options{.size = 1U << 20U};
        options.data_write_guid = identities[i];
        const std::uint8_t how = input.byte();
        if ((how & 1U) != 0) {
            const auto path = input.take(input.byte() % 32U);
            std::string text(path.size(), '\0');
            std::ranges::transform(path, text.begin(), [](std::byte b) { return char(b); });
            text = (how & 2U) != 0 ? ".\\" + std::to_string(how >> 2U & 3U) : text;
            options.parent_locator = {
                {"parent_linkage", "{" + identities[how >> 4U & 3U].text() + "}"},
                {"relative_path", text + "x"}};
            if ((how & 2U) != 0)
                options.parent_locator[1].second.pop_back();
        }
        const std::string name = std::to_string(i);
        files[name] = std::make_shared<test::MemoryStore::Contents>();
        test::MemoryStore store{files[name]};
        static_cast<void>(vhdx::create(store, options));
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
