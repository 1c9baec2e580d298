// SPDX-License-Identifier: Apache-2.0
#include "tests/disk/images.hpp"

#include "disk/file_store.hpp"
#include "disk/vhd/create.hpp"
#include "disk/vhd/dynamic_image.hpp"
#include "disk/vhdx/create.hpp"
#include "disk/vhdx/image.hpp"

#include <algorithm>
#include <gtest/gtest.h>

namespace croft::disk::test {

std::byte parent_byte(std::uint64_t offset) {
    // Every other 64 KiB of the parent hold something.
    return offset / 65536 % 2 == 0 ? static_cast<std::byte>(1 + offset / 4096 % 200) : std::byte{0};
}

std::shared_ptr<MemoryStore::Contents> MemoryFolder::file(const std::string& name) {
    auto& contents = files_[name];
    if (!contents)
        contents = std::make_shared<MemoryStore::Contents>();
    return contents;
}

StoreOpener MemoryFolder::opener() {
    return
        [this](const std::string& path, bool write, bool, bool) -> Result<std::unique_ptr<Store>> {
            const auto found = files_.find(path);
            if (found == files_.end())
                return std::unexpected(Error::of(ErrorCode::not_found, path, "open"));
            return std::make_unique<MemoryStore>(found->second, !write);
        };
}

void MemoryFolder::create_one(
    const std::string& name, const Kind& kind, std::uint64_t size, const std::string& parent_name) {
    MemoryStore store{file(name)};
    if (kind.format == Format::raw) {
        ASSERT_TRUE(store.resize(size));
        return;
    }
    const bool child = kind.allocation == Allocation::differencing;
    if (kind.format == Format::vhd) {
        vhd::CreateOptions options{.size = size};
        options.type = child                       ? vhd::DiskType::differencing
            : kind.allocation == Allocation::fixed ? vhd::DiskType::fixed
                                                   : vhd::DiskType::dynamic;
        options.block_size = kind.block_size != 0 ? kind.block_size : 512 * 1024;
        if (child) {
            const auto parent = open_chain(parent_name, {}, opener());
            options.parent_id = Guid::parse((*parent)->top().info().identity).value();
            options.parent_relative_path = ".\\" + parent_name;
        }
        ASSERT_TRUE(vhd::create(store, options));
        return;
    }
    vhdx::CreateOptions options{.size = size};
    options.block_size = kind.block_size != 0 ? kind.block_size : 1U << 20U;
    options.logical_sector_size = kind.sector_size;
    options.fixed = kind.allocation == Allocation::fixed;
    if (child) {
        const auto parent = open_chain(parent_name, {}, opener());
        options.parent_locator = {{"parent_linkage", "{" + (*parent)->top().info().identity + "}"},
            {"relative_path", ".\\" + parent_name}};
    }
    const auto created = vhdx::create(store, options);
    ASSERT_TRUE(created) << created.error().text();
}

void MemoryFolder::create(const Kind& kind, std::uint64_t size) {
    if (kind.allocation == Allocation::differencing) {
        Kind parent = kind;
        parent.allocation = Allocation::dynamic;
        create_one("parent", parent, size);
        auto chain = open_chain("parent", {.write = true}, opener());
        ASSERT_TRUE(chain) << chain.error().text();
        std::vector<std::byte> bytes(4096);
        for (std::uint64_t at = 0; at + bytes.size() <= size; at += bytes.size()) {
            std::ranges::fill(bytes, parent_byte(at));
            if (bytes[0] != std::byte{0}) {
                ASSERT_TRUE((*chain)->write(at, bytes));
            }
        }
        ASSERT_TRUE((*chain)->close());
    }
    create_one("disk", kind, size);
}

std::unique_ptr<Chain> MemoryFolder::open(bool write, const std::string& name) {
    auto chain = open_chain(name, {.write = write}, opener());
    EXPECT_TRUE(chain) << chain.error().text();
    return chain ? *std::move(chain) : nullptr;
}

void MemoryFolder::write_files(const TemporaryFolder& folder) const {
    std::vector<std::byte> bytes(1U << 20U);
    for (const auto& [name, contents] : files_) {
        const auto store = FileStore::open(folder / name, {.write = true, .create = true});
        ASSERT_TRUE(store) << store.error().text();
        const std::uint64_t size = contents->bytes.size();
        for (std::uint64_t at = 0; at < size; at += bytes.size()) {
            const auto some = std::span{bytes}.first(
                static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), size - at)));
            contents->bytes.read(at, some);
            ASSERT_TRUE((*store)->write(at, some));
        }
    }
}

} // namespace croft::disk::test
