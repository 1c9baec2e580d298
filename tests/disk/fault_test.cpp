// SPDX-License-Identifier: Apache-2.0
#include "disk/check.hpp"
#include "tests/disk/images.hpp"
#include "tests/disk/queue_driver.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <gtest/gtest.h>
#include <thread>

// Calls fail: each of them once, or all from some moment on, or many at random while eight threads
// use the disk. What a flush had acknowledged stays.
namespace croft::disk::test {
namespace {

constexpr std::uint64_t disk_size = 12U << 20U;
constexpr std::uint64_t used = 8U << 20U; // the pieces are here; what is beyond comes and goes
constexpr std::uint64_t piece = 64U << 10U;
constexpr unsigned pieces = 40;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::size_t stride = 17; // slow, and the same code each time
#else
constexpr std::size_t stride = 1;
#endif

struct Fault {
    const char* name;
    int error;
    bool part;  // of a write: half of it is done
    bool stays; // all calls fail from then on, flushes aside
    bool reads; // calls that read, instead of those that change something
};
constexpr Fault faults[] = {
    {"no space", ENOSPC, false, false, false},
    {"I/O error", EIO, false, false, false},
    {"short write", ENOSPC, true, false, false},
    {"no space any more", ENOSPC, false, true, false},
    {"read error", EIO, false, false, true},
    {"read errors", EIO, false, true, true},
};

class Faults : public testing::TestWithParam<Kind> {
protected:
    static std::uint64_t place(unsigned number) { return number * 7 % 64 * 2 * piece; }
    static std::byte fill(unsigned number) { return static_cast<std::byte>(number % 255 + 1); }

    // Answers which pieces a successful flush covers. What fails is left, and the rest goes on.
    static std::vector<bool> run(Chain& chain) {
        std::vector<bool> written(pieces);
        std::vector<bool> acknowledged(pieces);
        for (unsigned i = 0; i < pieces; ++i) {
            written[i] = chain.write(place(i), std::vector<std::byte>(piece, fill(i))).has_value();
            if (i % 5 == 1)
                static_cast<void>(chain.top().resize(disk_size + i % 2 * (80U << 20U)));
            if (i % 5 == 3 &&
                !chain.write(used + i % 4 * (1U << 20U), std::vector<std::byte>(piece)))
                static_cast<void>(chain.flush());
            if (i % 7 == 6)
                static_cast<void>(chain.discard(used, disk_size - used));
            if (i % 3 == 2 && chain.flush())
                acknowledged = written;
        }
        return chain.close() ? written : acknowledged;
    }

    static void expect(MemoryFolder& folder, const std::vector<bool>& acknowledged) {
        const auto chain = folder.open();
        ASSERT_NE(chain, nullptr);
        const auto report = check(chain->top());
        ASSERT_TRUE(report) << report.error().text();
        for (const Finding& finding : report->findings)
            ASSERT_NE(finding.severity, Finding::Severity::loss) << finding.what;
        std::vector<std::byte> bytes(piece);
        for (unsigned i = 0; i < pieces; ++i) {
            ASSERT_TRUE(chain->read(place(i), bytes));
            ASSERT_TRUE(!acknowledged[i] ||
                std::ranges::all_of(bytes, [i](std::byte b) { return b == fill(i); }))
                << "piece " << i;
        }
    }

    // One run with a fault at a call; answers whether there was such a call.
    static bool try_at(const Fault& fault, std::size_t target) {
        MemoryFolder folder;
        folder.create(GetParam(), disk_size);
        const auto contents = folder.file("disk");
        std::size_t calls = 0;
        bool reached = false;
        std::vector<bool> acknowledged;
        {
            const auto chain = folder.open();
            contents->fault = [&](const Event& call, std::size_t& length) {
                if ((call.kind == Event::Kind::read) != fault.reads ||
                    (fault.stays && call.kind == Event::Kind::flush))
                    return 0;
                const std::size_t number = calls++;
                if (number < target || (number > target && !fault.stays))
                    return 0;
                reached = true;
                length = fault.part ? length / 2 : 0;
                return fault.error;
            };
            acknowledged = run(*chain);
        }
        contents->fault = nullptr;
        contents->flush_failed = 0;
        expect(folder, acknowledged);
        return reached;
    }
};

TEST_P(Faults, NothingAcknowledgedIsLost) {
    for (const Fault& fault : faults) {
        for (std::size_t target = 0; try_at(fault, target); target += stride)
            ASSERT_FALSE(HasFatalFailure()) << fault.name << " at call " << target;
        ASSERT_FALSE(HasFatalFailure()) << fault.name;
    }
}

// Requests of which only a part is moved at a time.
TEST_P(Faults, AQueueGoesOnAfterShortTransfers) {
    MemoryFolder folder;
    folder.create(GetParam(), disk_size);
    Disk disk{folder.open()};
    QueueDriver driver{disk};
    const auto here = std::this_thread::get_id(); // payload; the service's thread does the rest
    unsigned calls = 0;
    folder.file("disk")->fault = [&](const Event& call, std::size_t& length) {
        if (std::this_thread::get_id() != here || call.length <= 4096 || ++calls % 3 == 0)
            return 0;
        length = length / 2 / 512 * 512;
        return EIO;
    };
    std::vector<std::byte> bytes(piece);
    for (unsigned i = 0; i < pieces; ++i) {
        std::ranges::fill(bytes, fill(i));
        ASSERT_TRUE(driver.write(place(i), bytes).ok());
    }
    ASSERT_TRUE(driver.simple(Operation::flush).ok());
    for (unsigned i = 0; i < pieces; ++i) {
        ASSERT_TRUE(driver.read(place(i), bytes).ok());
        ASSERT_TRUE(std::ranges::all_of(bytes, [i](std::byte b) { return b == fill(i); }));
    }
    EXPECT_GT(calls, 3 * pieces);
    folder.file("disk")->fault = nullptr;
    EXPECT_TRUE(disk.close());
}

TEST_P(Faults, AQueueTellsWhatFailed) {
    MemoryFolder folder;
    folder.create(GetParam(), disk_size);
    Disk disk{folder.open()};
    QueueDriver driver{disk};
    std::vector<std::byte> bytes(piece, std::byte{1});
    ASSERT_TRUE(driver.write(0, bytes).ok());
    folder.file("disk")->fault = [](const Event& call, std::size_t& length) {
        length = 0;
        return call.kind == Event::Kind::read ? EIO : call.kind == Event::Kind::write ? ENOSPC : 0;
    };
    EXPECT_EQ(driver.write(0, bytes).code, ErrorCode::no_space);
    EXPECT_EQ(driver.write(6U << 20U, bytes).ok(), false);
    EXPECT_EQ(driver.read(0, bytes).code, ErrorCode::io);
    folder.file("disk")->fault = nullptr;
    EXPECT_TRUE(driver.read(0, bytes).ok());
    EXPECT_EQ(bytes[0], std::byte{1});
    EXPECT_TRUE(driver.write(6U << 20U, bytes).ok());
    EXPECT_TRUE(disk.close());
}

// The first byte that wasn't moved, in whatever order the parts of a request fail.
TEST_P(Faults, AQueueTellsWhereARequestFailed) {
    MemoryFolder folder;
    folder.create(GetParam(), disk_size);
    Disk disk{folder.open()};
    QueueDriver driver{disk};
    constexpr std::uint64_t middle = 4U << 20U; // where another block begins
    std::vector<std::byte> bytes(2 * piece, std::byte{1});
    const std::span all{bytes};
    // In this order, so that they don't follow each other in the file.
    ASSERT_TRUE(driver.write(middle, all.first(piece)).ok());
    ASSERT_TRUE(driver.write(middle - piece, all.first(piece)).ok());
    const std::array segments{iovec{bytes.data(), bytes.size()}};
    Request request;
    request.offset = middle - piece;
    request.length = bytes.size();
    request.segments = segments;
    ASSERT_TRUE(driver.run(request).ok());
    EXPECT_FALSE(request.failed_at);
    const auto here = std::this_thread::get_id(); // payload; the service's thread does the rest
    std::vector<std::pair<int, std::size_t>> answers;
    std::size_t calls = 0;
    folder.file("disk")->fault = [&](const Event&, std::size_t& length) {
        if (std::this_thread::get_id() != here || calls == answers.size())
            return 0;
        const auto& [error, moved] = answers[calls++];
        length = error != 0 ? moved : length;
        return error;
    };
    answers = {{0, 0}, {EIO, 0}};
    EXPECT_EQ(driver.run(request).code, ErrorCode::io);
    EXPECT_EQ(request.failed_at, middle);
    calls = 0;
    answers = {{EAGAIN, 0}, {EIO, 0}, {EIO, 4096}, {EIO, 0}};
    EXPECT_EQ(driver.run(request).code, ErrorCode::io);
    EXPECT_EQ(calls, answers.size()) << "the second part failed before the first";
    EXPECT_EQ(request.failed_at, middle - piece + 4096);
    ASSERT_TRUE(driver.run(request).ok());
    EXPECT_FALSE(request.failed_at);
    // Of a write that is whole and not durable there is no such place.
    folder.file("disk")->fault = [](const Event& call, std::size_t&) {
        return call.kind == Event::Kind::flush ? EIO : 0;
    };
    request.operation = Operation::write;
    request.durable = true;
    EXPECT_FALSE(driver.run(request).ok());
    EXPECT_FALSE(request.failed_at);
    folder.file("disk")->fault = nullptr;
}

// One of eight; it knows which of its pieces a flush of its own has acknowledged.
class Writer {
public:
    Writer(Disk& disk, unsigned number) : driver_{disk}, number_{number} {}

    void run() {
        std::vector<std::uint64_t> written;
        std::vector<std::byte> bytes(4096, fill());
        for (unsigned i = 0; i < 160; ++i) {
            const std::uint64_t offset = (std::uint64_t{i} * 37 % 160 * 8 + number_) * 8192;
            if (driver_.write(offset, bytes).ok())
                written.push_back(offset);
            if (i % 8 == 7 && driver_.simple(Operation::flush).ok())
                acknowledged_ = written;
        }
    }
    std::byte fill() const { return static_cast<std::byte>(number_ + 1); }
    const std::vector<std::uint64_t>& acknowledged() const { return acknowledged_; }

private:
    QueueDriver driver_;
    unsigned number_;
    std::vector<std::uint64_t> acknowledged_;
};

TEST_P(Faults, CommitsThatFailUnderEightThreads) {
    MemoryFolder folder;
    folder.create(GetParam(), disk_size);
    const auto contents = folder.file("disk");
    MemoryFolder after;
    std::vector<std::unique_ptr<Writer>> writers(8);
    std::vector<std::pair<std::byte, std::vector<std::uint64_t>>> places;
    {
        Disk disk{folder.open()};
        ASSERT_TRUE(disk.resize(16U << 20U));
        // A VHD writes each of its many small pages by itself.
        const unsigned rarely = GetParam().format == Format::vhd ? 25 : 29;
        std::atomic<unsigned> calls{0};
        contents->fault = [&](const Event& call, std::size_t& length) {
            const bool fails = call.kind != Event::Kind::flush && call.kind != Event::Kind::read &&
                calls++ * 2654435761U >> rarely == 0;
            length = fails ? length / 2 : length;
            return fails ? ENOSPC : 0;
        };
        std::vector<std::thread> threads;
        for (unsigned i = 0; i < writers.size(); ++i) {
            threads.emplace_back([&, i] {
                writers[i] = std::make_unique<Writer>(disk, i);
                writers[i]->run();
            });
        }
        for (std::thread& thread : threads)
            thread.join();
        contents->fault = nullptr;
        after.file("disk")->bytes = contents->bytes; // nothing more is written: the power is cut
        after.file("parent")->bytes = folder.file("parent")->bytes;
        for (const auto& writer : writers)
            places.emplace_back(writer->fill(), writer->acknowledged());
        writers.clear(); // queues go before the disk
    }
    const auto chain = after.open();
    ASSERT_NE(chain, nullptr);
    std::size_t acknowledged = 0;
    std::vector<std::byte> bytes(4096);
    for (const auto& [fill, offsets] : places) {
        acknowledged += offsets.size();
        for (const std::uint64_t offset : offsets) {
            ASSERT_TRUE(chain->read(offset, bytes));
            ASSERT_TRUE(std::ranges::all_of(bytes, [&](std::byte b) { return b == fill; }));
        }
    }
    EXPECT_GT(acknowledged, 0U);
    const auto report = check(chain->top());
    ASSERT_TRUE(report) << report.error().text();
    for (const Finding& finding : report->findings)
        EXPECT_NE(finding.severity, Finding::Severity::loss) << finding.what;
}

constexpr Kind kinds[] = {
    {"vhd_dynamic", Format::vhd, Allocation::dynamic},
    {"vhd_differencing", Format::vhd, Allocation::differencing},
    {"vhdx_dynamic", Format::vhdx, Allocation::dynamic},
    {"vhdx_differencing", Format::vhdx, Allocation::differencing},
};
INSTANTIATE_TEST_SUITE_P(
    , Faults, testing::ValuesIn(kinds), [](const auto& kind) { return kind.param.name; });

} // namespace
} // namespace croft::disk::test
