// SPDX-License-Identifier: Apache-2.0
#include "disk/file_store.hpp"
#include "disk/tool/data_runs.hpp"
#include "tests/disk/temporary.hpp"

#include <array>
#include <gtest/gtest.h>
#include <random>
#include <string>
#include <vector>

namespace croft::disk::test {
namespace {

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t pages = 64;

// A file with holes, where its file system has such.
std::unique_ptr<Store> store_with(const std::string& path, std::uint64_t seed) {
    std::mt19937_64 random{seed};
    auto store = FileStore::open(path, {.write = true, .create = true});
    if (!store || !(*store)->resize(pages * page))
        return nullptr;
    const std::vector<std::byte> data(page, std::byte{1});
    for (std::uint64_t at = 0; at < pages; ++at) {
        if (random() % 4 == seed % 4 && !(*store)->write(at * page, data))
            return nullptr;
    }
    return *std::move(store);
}

TEST(DataRuns, AreWhatTheStoreAnswers) {
    std::mt19937_64 random{5};
    const TemporaryFolder folder;
    std::array<std::unique_ptr<Store>, 5> stores;
    for (std::size_t i = 0; i < stores.size(); ++i) {
        stores.at(i) = store_with(folder / std::to_string(i), i);
        ASSERT_NE(stores.at(i), nullptr);
    }
    tool::DataRuns runs;
    std::uint64_t offset = 0;
    for (int step = 0; step < 20000; ++step) {
        Store& store = *stores.at(random() % 8 == 0 ? random() % stores.size() : 0);
        offset = random() % 4 == 0 ? random() % (pages * page) : offset;
        const std::uint64_t end = offset + random() % (pages * page + 1 - offset);
        const Store::Range expected = store.next_data(offset, end);
        const Store::Range found = runs.next(store, offset, end);
        ASSERT_EQ(found.length, expected.length) << "from " << offset << " to " << end;
        if (expected.length != 0) {
            ASSERT_EQ(found.offset, expected.offset) << "from " << offset << " to " << end;
        }
        offset = end % (pages * page);
    }
}

} // namespace
} // namespace croft::disk::test
