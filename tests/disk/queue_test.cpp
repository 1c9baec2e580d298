// SPDX-License-Identifier: Apache-2.0
#include "disk/file_store.hpp"
#include "disk/open.hpp"
#include "disk/raw_image.hpp"
#include "disk/tool/create.hpp"
#include "tests/disk/queue_driver.hpp"
#include "tests/disk/temporary.hpp"

#include <array>
#include <cstring>
#include <filesystem>
#include <gtest/gtest.h>
#include <memory>
#include <optional>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

namespace croft::disk::test {
namespace {

constexpr std::uint64_t mebibyte = 1U << 20U;

std::unique_ptr<Disk> open_raw(const std::string& path, std::uint64_t size, bool direct = false) {
    auto store =
        FileStore::open(path, {.write = true, .direct = direct, .create = true, .replace = true});
    EXPECT_TRUE(store) << store.error().text();
    EXPECT_TRUE((*store)->resize(size));
    std::vector<std::unique_ptr<Image>> images;
    images.push_back(RawImage::open(std::move(*store), Format::raw, 512).value());
    return std::make_unique<Disk>(std::make_unique<Chain>(std::move(images)));
}

TEST(Queue, ReadsBackWhatWasWrittenInSegments) {
    const TemporaryFolder folder;
    const auto disk = open_raw(folder / "a.raw", mebibyte);
    QueueDriver driver{*disk};
    std::vector<std::byte> first(512, std::byte{1}), second(1024, std::byte{2});
    const std::array segments{iovec{first.data(), 512}, iovec{second.data(), 1024}};
    Request request;
    request.operation = Operation::write;
    request.offset = 4096;
    request.length = 1536;
    request.segments = segments;
    EXPECT_TRUE(driver.run(request).ok());
    std::vector<std::byte> back(2048, std::byte{9});
    EXPECT_TRUE(driver.read(4096, back).ok());
    EXPECT_EQ(back[0], std::byte{1});
    EXPECT_EQ(back[512], std::byte{2});
    EXPECT_EQ(back[1535], std::byte{2});
    EXPECT_EQ(back[1536], std::byte{0});
    EXPECT_TRUE(driver.simple(Operation::flush).ok());
}

TEST(Queue, RefusesWhatIsNoSectorOfTheDisk) {
    const TemporaryFolder folder;
    const auto disk = open_raw(folder / "a.raw", mebibyte);
    QueueDriver driver{*disk};
    std::vector<std::byte> bytes(1024);
    EXPECT_EQ(driver.read(100, bytes).code, ErrorCode::misaligned);
    EXPECT_EQ(driver.read(mebibyte - 512, bytes).code, ErrorCode::out_of_range);
    EXPECT_EQ(driver.read(~std::uint64_t{511}, bytes).code, ErrorCode::out_of_range);
    Request request;
    request.length = 512;
    EXPECT_EQ(driver.run(request).code, ErrorCode::invalid_argument);
    EXPECT_EQ(driver.queue().in_flight(), 0U);
}

// By somebody else, while it is open: what is lost is told, what isn't goes on.
TEST(Queue, WhatWasCutOffAFileIsNoZeros) {
    const TemporaryFolder folder;
    constexpr std::uint64_t half = mebibyte / 2;
    for (const bool direct : {false, true}) {
        SCOPED_TRACE(direct);
        const std::string path = folder / "a.raw";
        const auto disk = open_raw(path, mebibyte, direct);
        std::vector<std::string> told;
        disk->on_error([&told](const Error& error) { told.push_back(error.text()); });
        QueueDriver driver{*disk};
        std::vector<std::byte> bytes(8192, std::byte{7});
        const auto transfer = [&](Operation operation, std::uint64_t offset) {
            const std::array segments{iovec{bytes.data(), bytes.size()}};
            Request request;
            request.operation = operation;
            request.offset = offset;
            request.length = bytes.size();
            request.segments = segments;
            const Status status = driver.run(request);
            return std::pair{status.code, request.failed_at};
        };
        const std::pair<ErrorCode, std::optional<std::uint64_t>> good{ErrorCode::none, {}};
        ASSERT_EQ(transfer(Operation::write, mebibyte - 8192), good);
        ASSERT_EQ(truncate(path.c_str(), half + 100), 0); // within a sector
        for (const Operation operation : {Operation::read, Operation::write}) {
            EXPECT_EQ(transfer(operation, mebibyte - 8192).second, mebibyte - 8192);
            EXPECT_EQ(transfer(operation, mebibyte - 8192).first, ErrorCode::io);
            EXPECT_EQ(transfer(operation, half - 4096).first, ErrorCode::io);
            EXPECT_EQ(*transfer(operation, half - 4096).second / 512, half / 512);
            EXPECT_EQ(transfer(operation, half - 8192), good);
        }
        EXPECT_EQ(driver.simple(Operation::write_zeroes, half, 8192).code, ErrorCode::io);
        EXPECT_TRUE(driver.simple(Operation::write_zeroes, 0, 8192).ok());
        EXPECT_TRUE(driver.simple(Operation::flush).ok());
        EXPECT_EQ(std::filesystem::file_size(path), half + 100);
        EXPECT_EQ(told,
            (std::vector{path +
                ": at offset 1040384: read: the file ends here, expected 8192 "
                "bytes more"}));
        // Put right by whoever did it.
        ASSERT_EQ(truncate(path.c_str(), mebibyte), 0);
        EXPECT_EQ(transfer(Operation::write, mebibyte - 8192), good);
    }
}

// Whose the files are is told once of each kind of error, not as often as the guest meets it.
TEST(Queue, TellsTheFirstErrorOfEachKind) {
    const TemporaryFolder folder;
    const std::string path = folder / "a.raw";
    const auto disk = open_raw(path, mebibyte);
    std::vector<std::string> told;
    disk->on_error([&told](const Error& error) { told.push_back(error.text()); });
    QueueDriver driver{*disk};
    std::vector<std::byte> bytes(4096);
    EXPECT_EQ(driver.read(mebibyte, bytes).code, ErrorCode::out_of_range);
    EXPECT_TRUE(told.empty()) << "that is the request's, not the file's";
    ASSERT_EQ(truncate(path.c_str(), 0), 0);
    EXPECT_EQ(driver.write(4096, bytes).code, ErrorCode::io);
    EXPECT_EQ(driver.write(8192, bytes).code, ErrorCode::io);
    EXPECT_EQ(driver.read(8192, bytes).code, ErrorCode::io);
    EXPECT_EQ(told,
        (std::vector{path +
            ": at offset 4096: write: the file ends at 0, expected the disk's "
            "1048576 bytes"}));
}

TEST(Queue, NeverCompletesInsideSubmit) {
    const TemporaryFolder folder;
    const auto disk = open_raw(folder / "a.raw", mebibyte);
    QueueDriver driver{*disk};
    bool over = false;
    Request request;
    request.offset = 1; // refused at once
    request.context = &over;
    request.done = [](Request& ended) noexcept {
        *static_cast<bool*>(ended.context) = true;
    };
    driver.queue().submit(request);
    EXPECT_FALSE(over);
    EXPECT_EQ(driver.queue().in_flight(), 1U);
    driver.ring().run(true);
    EXPECT_TRUE(over);
    EXPECT_EQ(request.status.code, ErrorCode::misaligned);
}

TEST(Queue, ManyInFlightThroughASmallRing) {
    const TemporaryFolder folder;
    const auto disk = open_raw(folder / "a.raw", 64 * mebibyte);
    const auto ring = UringRing::create(4).value();
    const auto queue = disk->open_queue(*ring);
    struct Slot {
        Request request;
        std::vector<std::byte> bytes;
        iovec segment{};
    };
    std::vector<Slot> slots(500);
    unsigned over = 0;
    for (std::size_t i = 0; i < slots.size(); ++i) {
        Slot& slot = slots[i];
        slot.bytes.assign(4096, static_cast<std::byte>(i));
        slot.segment = {slot.bytes.data(), slot.bytes.size()};
        slot.request.operation = Operation::write;
        slot.request.offset = i * 8192;
        slot.request.length = 4096;
        slot.request.segments = {&slot.segment, 1};
        slot.request.context = &over;
        slot.request.done = [](Request& r) noexcept {
            ++*static_cast<unsigned*>(r.context);
        };
        queue->submit(slot.request);
    }
    while (over < slots.size())
        ring->run(true);
    for (std::size_t i = 0; i < slots.size(); ++i) {
        std::vector<std::byte> back(4096);
        ASSERT_TRUE(disk->chain().read(i * 8192, back));
        ASSERT_EQ(std::memcmp(back.data(), slots[i].bytes.data(), 4096), 0) << i;
    }
}

TEST(Queue, CancelledRequestsEndOnce) {
    const TemporaryFolder folder;
    const auto disk = open_raw(folder / "a.raw", 64 * mebibyte);
    QueueDriver driver{*disk};
    std::vector<std::byte> bytes(mebibyte);
    const iovec segment{bytes.data(), bytes.size()};
    std::array<Request, 32> requests;
    unsigned over = 0;
    for (std::size_t i = 0; i < requests.size(); ++i) {
        requests[i].offset = i * mebibyte;
        requests[i].length = mebibyte;
        requests[i].segments = {&segment, 1};
        requests[i].context = &over;
        requests[i].done = [](Request& r) noexcept {
            ++*static_cast<unsigned*>(r.context);
        };
        driver.queue().submit(requests[i]);
        driver.queue().cancel(requests[i]);
    }
    while (driver.queue().in_flight() > 0)
        driver.ring().run(true);
    EXPECT_EQ(over, requests.size());
    for (const Request& request : requests)
        EXPECT_TRUE(request.status.ok() || request.status.code == ErrorCode::cancelled);
}

TEST(Queue, DirectAccessTakesAlignedAndOtherMemory) {
    const TemporaryFolder folder;
    const auto disk = open_raw(folder / "a.raw", mebibyte, true);
    QueueDriver driver{*disk};
    const std::uint32_t alignment = disk->geometry().memory_alignment;
    std::vector<std::byte> memory(3 * 4096);
    auto* aligned = reinterpret_cast<std::byte*>(
        (reinterpret_cast<std::uintptr_t>(memory.data()) + 4095) & ~std::uintptr_t{4095});
    EXPECT_GE(alignment, 1U);
    std::memset(aligned, 5, 4096);
    EXPECT_TRUE(driver.write(8192, {aligned, 4096}).ok());
    std::memset(aligned + 1, 6, 512);
    EXPECT_TRUE(driver.write(8192 + 512, {aligned + 1, 512}).ok());
    EXPECT_TRUE(driver.read(8192, {aligned, 4096}).ok());
    EXPECT_EQ(aligned[0], std::byte{5});
    EXPECT_EQ(aligned[512], std::byte{6});
    EXPECT_EQ(aligned[1024], std::byte{5});
}

TEST(Queue, DiscardAndZeroesReadAsZeros) {
    const TemporaryFolder folder;
    const auto disk = open_raw(folder / "a.raw", mebibyte);
    QueueDriver driver{*disk};
    std::vector<std::byte> bytes(64 * 1024, std::byte{7});
    EXPECT_TRUE(driver.write(0, bytes, true).ok());
    EXPECT_TRUE(driver.simple(Operation::discard, 4096, 8192).ok());
    EXPECT_TRUE(driver.simple(Operation::write_zeroes, 32768, 512).ok());
    EXPECT_TRUE(driver.read(0, bytes).ok());
    EXPECT_EQ(bytes[4095], std::byte{7});
    EXPECT_EQ(bytes[4096], std::byte{0});
    EXPECT_EQ(bytes[12288], std::byte{7});
    EXPECT_EQ(bytes[32768], std::byte{0});
    EXPECT_EQ(bytes[33280], std::byte{7});
}

TEST(Queue, PostedFromAnotherThreadWakesTheRing) {
    struct Note final : Completion {
        Note()
            : Completion{[](Completion& c, int value) noexcept {
                  static_cast<Note&>(c).result = value;
              }} {}
        int result = 0;
    };
    const auto ring = UringRing::create().value();
    Note note;
    std::thread other{[&] {
        ring->post(note, 42);
    }};
    EXPECT_EQ(ring->run(true), 1U);
    other.join();
    EXPECT_EQ(note.result, 42);
}

TEST(Queue, ATableThatTheKernelHasIsReadAtOnce) {
    const TemporaryFolder folder;
    const std::string path = folder / "a.vhdx";
    ASSERT_TRUE(tool::create_file(path, {.size = 16 * mebibyte}, false));
    {
        const auto chain = open_chain(path, {.write = true});
        ASSERT_TRUE(chain && (*chain)->write(mebibyte, std::vector<std::byte>(512, std::byte{7})));
        ASSERT_TRUE((*chain)->close());
    }
    const auto chain = open_chain(path, {});
    ASSERT_TRUE(chain);
    Image& image = (*chain)->top();
    std::vector<std::byte> first(512);
    if (!image.store().read_at_once(0, first))
        GTEST_SKIP() << "this file system does not say what is in memory";
    EXPECT_EQ(image.find(mebibyte, 512).where, Extent::Where::absent);
    EXPECT_TRUE(image.prepare_at_once(mebibyte));
    const Extent found = image.find(mebibyte, 512);
    ASSERT_EQ(found.where, Extent::Where::data);
    ASSERT_TRUE(image.store().read(found.store_offset, first));
    EXPECT_EQ(first[0], std::byte{7});
    image.finish(found, Image::Outcome::was_read);
    EXPECT_FALSE(image.prepare_at_once(mebibyte)); // there is nothing left to bring
    EXPECT_FALSE(image.store().read_at_once(image.store().size() - 1, first));
}

TEST(FileStore, RefusesAFileThatIsInUseAndNamesTheHolder) {
    const TemporaryFolder folder;
    const auto disk = open_raw(folder / "a.raw", mebibyte);
    const auto second = FileStore::open(folder / "a.raw", {});
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::in_use);
    EXPECT_NE(second.error().text().find(std::to_string(getpid())), std::string::npos)
        << second.error().text();
}

} // namespace
} // namespace croft::disk::test
