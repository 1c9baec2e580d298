// SPDX-License-Identifier: Apache-2.0
#include "vsp/storage/scsi/big_endian.hpp"
#include "vsp/storage/scsi/cdb.hpp"
#include "vsp/storage/scsi/disk_unit.hpp"
#include "vsp/storage/scsi/dvd_unit.hpp"
#include "vsp/storage/scsi/limits.hpp"
#include "vsp/storage/scsi/sense.hpp"

#include <algorithm>
#include <cerrno>
#include <gtest/gtest.h>
#include <initializer_list>
#include <numeric>
#include <string>

namespace croft::vsp::storage::scsi {
namespace {

constexpr std::uint64_t block_count = 100'000;

Cdb cdb_of(std::initializer_list<int> bytes) {
    std::array<std::uint8_t, protocol::cdb_size> all{};
    std::ranges::transform(
        bytes, all.begin(), [](int byte) { return static_cast<std::uint8_t>(byte); });
    return Cdb(all);
}

disk::Geometry geometry() {
    return {.size = block_count * 512,
        .logical_sector_size = 512,
        .physical_sector_size = 4096,
        .memory_alignment = 1,
        .discard_granularity = 1U << 20U,
        .read_only = false};
}

Identity identity() {
    Identity identity;
    std::iota(identity.bytes.begin(), identity.bytes.end(), std::uint8_t{0xa0});
    return identity;
}

/// The data that a command answers; it may not fail.
std::vector<std::uint8_t> data_of(LogicalUnit& unit, const Cdb& cdb) {
    const Outcome outcome = unit.execute(cdb, {});
    EXPECT_TRUE(std::holds_alternative<Answer>(outcome));
    EXPECT_EQ(std::get<Answer>(outcome).sense, no_sense);
    return std::get<Answer>(outcome).data;
}

Sense sense_after(
    LogicalUnit& unit, const Cdb& cdb, std::span<const std::uint8_t> parameters = {}) {
    const Outcome outcome = unit.execute(cdb, parameters);
    const auto* const answer = std::get_if<Answer>(&outcome);
    return answer != nullptr ? answer->sense : Sense{0xff, 0xff, 0xff};
}

MediumAccess access_of(
    LogicalUnit& unit, const Cdb& cdb, std::span<const std::uint8_t> parameters = {}) {
    const Outcome outcome = unit.execute(cdb, parameters);
    const auto* const access = std::get_if<MediumAccess>(&outcome);
    EXPECT_NE(access, nullptr);
    return access != nullptr ? *access : MediumAccess{};
}

TEST(CdbTest, TransfersOfAllLengths) {
    const auto expect = [](const Cdb& cdb, Blocks blocks, bool is_write, bool fua) {
        const auto transfer = parse_transfer(cdb);
        ASSERT_TRUE(transfer);
        EXPECT_EQ(transfer->blocks, blocks);
        EXPECT_EQ(transfer->is_write, is_write);
        EXPECT_EQ(transfer->force_unit_access, fua);
    };
    expect(cdb_of({0x08, 0xe1, 2, 3, 4, 0}), {0x010203, 4}, false, false);
    expect(cdb_of({0x0a, 0x01, 2, 3, 0, 0}), {0x010203, 256}, true, false);
    expect(cdb_of({0x28, 0, 1, 2, 3, 4, 0, 5, 6, 0}), {0x01020304, 0x0506}, false, false);
    expect(cdb_of({0x2a, 8, 1, 2, 3, 4, 0, 5, 6, 0}), {0x01020304, 0x0506}, true, true);
    expect(cdb_of({0xa8, 0, 1, 2, 3, 4, 5, 6, 7, 8}), {0x01020304, 0x05060708}, false, false);
    expect(cdb_of({0xaa, 8, 1, 2, 3, 4, 5, 6, 7, 8}), {0x01020304, 0x05060708}, true, true);
    expect(cdb_of({0x88, 8, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}),
        {0x0102030405060708, 0x090a0b0c}, false, true);
    expect(cdb_of({0x8a, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}),
        {0x0102030405060708, 0x090a0b0c}, true, false);
    EXPECT_FALSE(parse_transfer(cdb_of({0x00})));
    EXPECT_TRUE(parse_transfer(cdb_of({0x28, 0x20}))->wants_protection);
}

TEST(SenseTest, FixedFormat) {
    const auto bytes = fixed_format(lba_out_of_range);
    EXPECT_EQ(bytes[0], 0x70);
    EXPECT_EQ(bytes[2], 0x05);
    EXPECT_EQ(bytes[7], 10);
    EXPECT_EQ(bytes[12], 0x21);
    EXPECT_EQ(bytes[13], 0x00);
    EXPECT_EQ(get_be(bytes, 3, 4), 0U);
}

TEST(SenseTest, NamesTheBlockOfAMediumError) {
    constexpr disk::Status failed{disk::ErrorCode::io, EIO};
    const auto bytes = fixed_format(sense_of(failed, disk::Operation::read, 0xfedcba98));
    EXPECT_EQ(bytes[0], 0xf0) << "VALID";
    EXPECT_EQ(get_be(bytes, 3, 4), 0xfedcba98U);
    EXPECT_EQ(bytes[12], 0x11);
    const auto far = fixed_format(sense_of(failed, disk::Operation::write, 0x100000000));
    EXPECT_EQ(far[0], 0x70) << "it has 32 bits";
    EXPECT_EQ(get_be(far, 3, 4), 0U);
    EXPECT_EQ(sense_of({disk::ErrorCode::no_space, ENOSPC}, disk::Operation::write, 5),
        space_allocation_failed);
}

TEST(SenseTest, ErrorsOfTheHost) {
    using disk::ErrorCode;
    using disk::Operation;
    const auto sense = [](ErrorCode code, int os_error, Operation operation) {
        return sense_of({code, os_error}, operation);
    };
    EXPECT_EQ(sense(ErrorCode::none, 0, Operation::read), no_sense);
    EXPECT_EQ(sense(ErrorCode::io, EIO, Operation::read), unrecovered_read_error);
    EXPECT_EQ(sense(ErrorCode::io, EIO, Operation::write), write_error);
    EXPECT_EQ(sense(ErrorCode::io, EIO, Operation::flush), write_error);
    EXPECT_EQ(sense(ErrorCode::corrupt, 0, Operation::read), unrecovered_read_error);
    EXPECT_EQ(sense(ErrorCode::no_space, ENOSPC, Operation::write), space_allocation_failed);
    EXPECT_EQ(sense(ErrorCode::read_only, EROFS, Operation::write), write_protected);
    EXPECT_EQ(sense(ErrorCode::not_found, ENOENT, Operation::read), medium_not_present);
    EXPECT_EQ(sense(ErrorCode::io, ENODEV, Operation::write), medium_not_present);
    EXPECT_EQ(sense(ErrorCode::out_of_range, 0, Operation::read), lba_out_of_range);
    EXPECT_EQ(sense(ErrorCode::cancelled, ECANCELED, Operation::read), command_aborted);
    EXPECT_EQ(sense(ErrorCode::unsupported, 0, Operation::read), internal_target_failure);
}

TEST(DiskUnitTest, InquiryIsCutToWhatWasAllocated) {
    DiskUnit unit(identity(), geometry());
    const auto whole = data_of(unit, cdb_of({0x12, 0, 0, 1, 0, 0}));
    ASSERT_EQ(whole.size(), 36U);
    EXPECT_EQ(whole[0], 0x00);
    EXPECT_EQ(whole[1], 0x00) << "not removable";
    EXPECT_EQ(whole[2], 0x06) << "SPC-4";
    EXPECT_EQ(whole[4], 31);
    EXPECT_EQ(std::string(whole.begin() + 8, whole.begin() + 36), "Msft    Virtual Disk    1.0 ");
    EXPECT_EQ(data_of(unit, cdb_of({0x12, 0, 0, 0, 5, 0})).size(), 5U);
    EXPECT_EQ(sense_after(unit, cdb_of({0x12, 0, 0x80, 0, 36, 0})), invalid_field_in_cdb);
}

TEST(DiskUnitTest, VitalProductData) {
    DiskUnit unit(identity(), geometry());
    const auto page = [&](int code) {
        return data_of(unit, cdb_of({0x12, 1, code, 1, 0, 0}));
    };
    const std::vector<std::uint8_t> pages = {0, 0x00, 0, 6, 0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2};
    EXPECT_EQ(page(0x00), pages);
    const auto serial = page(0x80);
    EXPECT_EQ(std::string(serial.begin() + 4, serial.end()), "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf");
    Identity named = identity();
    named.serial = "ABC-1";
    DiskUnit other(named, geometry());
    EXPECT_EQ(data_of(other, cdb_of({0x12, 1, 0x80, 1, 0, 0})),
        (std::vector<std::uint8_t>{0, 0x80, 0, 5, 'A', 'B', 'C', '-', '1'}));
    const auto designator = page(0x83);
    ASSERT_EQ(designator.size(), 24U);
    EXPECT_EQ(get_be(designator, 4, 8), 0x0103001060022480U);
    EXPECT_EQ(get_be(designator, 12, 8), 0xa0a1a2a3a4a5a6a7U);

    const auto limits = page(0xb0);
    ASSERT_EQ(limits.size(), 64U);
    EXPECT_EQ(get_be(limits, 6, 2), 8U) << "physical blocks";
    EXPECT_EQ(get_be(limits, 8, 4), largest_transfer / 512);
    EXPECT_EQ(get_be(limits, 20, 4), 0xffffffffU);
    EXPECT_EQ(get_be(limits, 24, 4), most_unmap_ranges);
    EXPECT_EQ(get_be(limits, 28, 4), 2048U);
    EXPECT_EQ(get_be(limits, 36, 8), largest_write_same);
    EXPECT_EQ(get_be(page(0xb1), 4, 2), 1U) << "does not rotate";
    EXPECT_EQ(get_be(page(0xb2), 5, 2), 0xe002U);
    EXPECT_EQ(sense_after(unit, cdb_of({0x12, 1, 0xc0, 1, 0, 0})), invalid_field_in_cdb);
}

TEST(DiskUnitTest, ReadOnlyDisksAreNotThin) {
    disk::Geometry fixed = geometry();
    fixed.read_only = true;
    DiskUnit unit(identity(), fixed);
    EXPECT_EQ(get_be(data_of(unit, cdb_of({0x12, 1, 0xb2, 1, 0, 0})), 5, 2), 0U);
    EXPECT_EQ(get_be(data_of(unit, cdb_of({0x12, 1, 0xb0, 1, 0, 0})), 20, 8), 0U);
    EXPECT_EQ(data_of(unit, cdb_of({0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32}))[14], 0U);
    EXPECT_EQ(data_of(unit, cdb_of({0x1a, 0, 0x3f, 0, 255, 0}))[2], 0x90);
    EXPECT_EQ(sense_after(unit, cdb_of({0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0})), write_protected);
    EXPECT_EQ(sense_after(unit, cdb_of({0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0})), write_protected);
    EXPECT_EQ(
        sense_after(unit, cdb_of({0x93, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})), write_protected);
    EXPECT_EQ(sense_after(unit, cdb_of({0x35})), no_sense);
    EXPECT_EQ(access_of(unit, cdb_of({0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0})).operation,
        disk::Operation::read);
}

TEST(DiskUnitTest, Capacity) {
    DiskUnit unit(identity(), geometry());
    EXPECT_EQ(get_be(data_of(unit, cdb_of({0x25})), 0, 8), (block_count - 1) << 32 | 512);
    const Cdb long_one = cdb_of({0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32});
    const auto capacity = data_of(unit, long_one);
    ASSERT_EQ(capacity.size(), 32U);
    EXPECT_EQ(get_be(capacity, 0, 8), block_count - 1);
    EXPECT_EQ(get_be(capacity, 8, 4), 512U);
    EXPECT_EQ(capacity[13], 3) << "8 logical blocks in a physical one";
    EXPECT_EQ(capacity[14], 0x80) << "thin";
    EXPECT_EQ(sense_after(unit, cdb_of({0x9e, 0x12})), invalid_field_in_cdb);

    disk::Geometry huge = geometry();
    huge.size = std::uint64_t{1} << 42;
    DiskUnit large(identity(), huge);
    EXPECT_EQ(get_be(data_of(large, cdb_of({0x25})), 0, 4), 0xffffffffU);
    EXPECT_EQ(get_be(data_of(large, long_one), 0, 8), (std::uint64_t{1} << 33) - 1);
}

TEST(DiskUnitTest, ANewSizeIsToldOnce) {
    DiskUnit unit(identity(), geometry());
    disk::Geometry larger = geometry();
    unit.medium_changed(larger);
    EXPECT_EQ(sense_after(unit, cdb_of({0x00})), no_sense) << "it is the same";
    larger.size *= 2;
    unit.medium_changed(larger);
    EXPECT_EQ(data_of(unit, cdb_of({0x12, 0, 0, 0, 36, 0})).size(), 36U) << "not by INQUIRY";
    EXPECT_EQ(sense_after(unit, cdb_of({0x25})), capacity_data_has_changed);
    EXPECT_EQ(get_be(data_of(unit, cdb_of({0x25})), 0, 4), 2 * block_count - 1);
    larger.size /= 2;
    unit.medium_changed(larger);
    const auto sense = data_of(unit, cdb_of({0x03, 0, 0, 0, 18, 0}));
    EXPECT_EQ(get_be(sense, 12, 2), 0x2a09U) << "REQUEST SENSE tells as well";
    EXPECT_EQ(sense_after(unit, cdb_of({0x00})), no_sense);
}

TEST(DiskUnitTest, ModeSense) {
    DiskUnit unit(identity(), geometry());
    const auto caching = data_of(unit, cdb_of({0x1a, 0, 0x08, 0, 255, 0}));
    ASSERT_EQ(caching.size(), 24U);
    EXPECT_EQ(caching[0], 23);
    EXPECT_EQ(caching[2], 0x10) << "DPO and FUA";
    EXPECT_EQ(get_be(caching, 4, 3), 0x081204U) << "a write-back cache";
    const auto all = data_of(unit, cdb_of({0x5a, 0, 0x3f, 0, 0, 0, 0, 1, 0, 0}));
    ASSERT_EQ(all.size(), 8 + 20 + 12 + 12U);
    EXPECT_EQ(get_be(all, 0, 2), all.size() - 2);
    EXPECT_EQ(all[3], 0x10);
    const auto changeable = data_of(unit, cdb_of({0x1a, 0, 0x48, 0, 255, 0}));
    EXPECT_EQ(get_be(changeable, 4, 3), 0x081200U) << "nothing can be changed";
    EXPECT_EQ(
        sense_after(unit, cdb_of({0x1a, 0, 0xc8, 0, 255, 0})), saving_parameters_not_supported);
    EXPECT_EQ(sense_after(unit, cdb_of({0x1a, 0, 0x19, 0, 255, 0})), invalid_field_in_cdb);
    EXPECT_EQ(sense_after(unit, cdb_of({0x1a, 0, 0x08, 1, 255, 0})), invalid_field_in_cdb);
}

TEST(DiskUnitTest, TransfersStayWithinTheDisk) {
    DiskUnit unit(identity(), geometry());
    const int high = block_count >> 16;
    const int middle = block_count >> 8 & 0xff;
    const int low = block_count & 0xff;
    const auto read = access_of(unit, cdb_of({0x28, 8, 0, high, middle, low - 2, 0, 0, 2, 0}));
    EXPECT_EQ(read.operation, disk::Operation::read);
    EXPECT_EQ(read.blocks, (Blocks{block_count - 2, 2}));
    EXPECT_FALSE(read.durable);
    EXPECT_EQ(sense_after(unit, cdb_of({0x28, 0, 0, high, middle, low - 2, 0, 0, 3, 0})),
        lba_out_of_range);
    EXPECT_EQ(sense_after(unit, cdb_of({0x28, 0, 0, high, middle, low, 0, 0, 0, 0})), no_sense);
    EXPECT_EQ(sense_after(unit, cdb_of({0x28, 0, 0, high, middle, low + 1, 0, 0, 0, 0})),
        lba_out_of_range);
    EXPECT_EQ(sense_after(unit,
                  cdb_of({0x88, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255})),
        lba_out_of_range);
    const auto write = access_of(unit, cdb_of({0x2a, 8, 0, 0, 0, 0, 0, 0, 1, 0}));
    EXPECT_EQ(write.operation, disk::Operation::write);
    EXPECT_TRUE(write.durable);
    EXPECT_EQ(
        sense_after(unit, cdb_of({0x2a, 0x20, 0, 0, 0, 0, 0, 0, 1, 0})), invalid_field_in_cdb);
}

TEST(DiskUnitTest, FlushAndVerify) {
    DiskUnit unit(identity(), geometry());
    EXPECT_EQ(access_of(unit, cdb_of({0x35})).operation, disk::Operation::flush);
    EXPECT_EQ(access_of(unit, cdb_of({0x91})).operation, disk::Operation::flush);
    EXPECT_EQ(sense_after(unit, cdb_of({0x35, 0, 255, 0, 0, 0})), lba_out_of_range);
    using Data = MediumAccess::Data;
    const auto verified = access_of(unit, cdb_of({0x2f, 0x10, 0, 0, 0, 5, 0, 0, 8, 0}));
    EXPECT_EQ(verified.operation, disk::Operation::read);
    EXPECT_EQ(verified.blocks, (Blocks{5, 8}));
    EXPECT_EQ(verified.data, Data::is_unused);
    EXPECT_EQ(
        access_of(unit, cdb_of({0x2f, 0x02, 0, 0, 0, 0, 0, 0, 8, 0})).data, Data::is_compared);
    const Cdb one_block = cdb_of({0x2f, 0x06, 0, 0, 0, 0, 0, 0, 8, 0});
    const std::vector<std::uint8_t> block(512, 7);
    EXPECT_EQ(unit.parameter_length(one_block), 512U);
    EXPECT_EQ(access_of(unit, one_block, block).data, Data::is_one_block);
    EXPECT_EQ(access_of(unit, one_block, block).block, block);
    EXPECT_EQ(
        sense_after(unit, one_block, std::span(block).first(511)), invalid_field_in_parameter_list);
    EXPECT_EQ(
        sense_after(unit, cdb_of({0x2f, 0x04, 0, 0, 0, 0, 0, 0, 8, 0})), invalid_field_in_cdb);
    EXPECT_EQ(
        sense_after(unit, cdb_of({0x2f, 0x20, 0, 0, 0, 0, 0, 0, 8, 0})), invalid_field_in_cdb);
    EXPECT_EQ(sense_after(unit, cdb_of({0x2f, 0, 0, 0, 0, 0, 0, 0, 0, 0})), no_sense);
    EXPECT_EQ(sense_after(unit, cdb_of({0xaf, 0, 255, 0, 0, 0, 0, 0, 0, 8})), lba_out_of_range);
}

std::vector<std::uint8_t> unmap_list(std::initializer_list<Blocks> ranges) {
    std::vector<std::uint8_t> bytes(8 + 16 * ranges.size());
    put_be(bytes, 0, 2, bytes.size() - 2);
    put_be(bytes, 2, 2, bytes.size() - 8);
    std::size_t at = 8;
    for (const Blocks& range : ranges) {
        put_be(bytes, at, 8, range.first);
        put_be(bytes, at + 8, 4, range.count);
        at += 16;
    }
    return bytes;
}

TEST(DiskUnitTest, Unmap) {
    DiskUnit unit(identity(), geometry());
    const Cdb cdb = cdb_of({0x42, 0, 0, 0, 0, 0, 0, 1, 0, 0});
    EXPECT_EQ(unit.parameter_length(cdb), 256U);
    EXPECT_EQ(
        unit.parameter_length(cdb_of({0x42, 0, 0, 0, 0, 0, 0, 255, 255, 0})), largest_parameters);
    const auto access = access_of(unit, cdb, unmap_list({{8, 16}, {5, 0}, {100, 1}}));
    EXPECT_EQ(access.operation, disk::Operation::discard);
    EXPECT_EQ(access.blocks, (Blocks{8, 16}));
    EXPECT_EQ(access.more, (std::vector<Blocks>{{100, 1}})) << "the empty one is left out";
    EXPECT_EQ(sense_after(unit, cdb, unmap_list({{5, 0}})), no_sense);
    EXPECT_EQ(sense_after(unit, cdb, unmap_list({{8, 8}, {block_count - 1, 2}})), lba_out_of_range);
    EXPECT_EQ(sense_after(unit, cdb, unmap_list({{~std::uint64_t{0}, 2}})), lba_out_of_range);
    EXPECT_EQ(sense_after(unit, cdb, {}), parameter_list_length_error);
    auto cut = unmap_list({{8, 8}, {16, 8}});
    cut.resize(cut.size() - 1);
    EXPECT_EQ(sense_after(unit, cdb, cut), invalid_field_in_parameter_list);
    EXPECT_EQ(sense_after(unit, cdb_of({0x42, 1, 0, 0, 0, 0, 0, 1, 0, 0}), unmap_list({{8, 8}})),
        invalid_field_in_cdb);
    EXPECT_EQ(sense_after(unit, cdb_of({0x42})), no_sense) << "no list at all";
}

TEST(DiskUnitTest, WriteSame) {
    DiskUnit unit(identity(), geometry());
    const std::vector<std::uint8_t> zeros(512);
    std::vector<std::uint8_t> others(512);
    others.back() = 1;
    const Cdb cdb = cdb_of({0x41, 8, 0, 0, 0, 7, 0, 0, 9, 0});
    EXPECT_EQ(unit.parameter_length(cdb), 512U);
    const auto access = access_of(unit, cdb, zeros);
    EXPECT_EQ(access.operation, disk::Operation::write_zeroes);
    EXPECT_EQ(access.blocks, (Blocks{7, 9}));
    const auto pattern = access_of(unit, cdb, others);
    EXPECT_EQ(pattern.operation, disk::Operation::write);
    EXPECT_EQ(pattern.data, MediumAccess::Data::is_one_block);
    EXPECT_EQ(pattern.block, others);
    EXPECT_EQ(sense_after(unit, cdb, std::span(zeros).first(511)), invalid_field_in_parameter_list);
    EXPECT_EQ(
        sense_after(unit, cdb_of({0x41, 0, 0, 0, 0, 7, 0, 0, 0, 0}), zeros), invalid_field_in_cdb)
        << "WSNZ";
    EXPECT_EQ(sense_after(unit, cdb_of({0x41, 0x18, 0, 0, 0, 7, 0, 0, 1, 0}), zeros),
        invalid_field_in_cdb)
        << "ANCHOR";
    const Cdb no_data = cdb_of({0x93, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 9});
    EXPECT_EQ(unit.parameter_length(no_data), 0U);
    EXPECT_EQ(access_of(unit, no_data).blocks, (Blocks{7, 9}));
    EXPECT_EQ(sense_after(unit, cdb_of({0x93, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1})),
        invalid_field_in_cdb)
        << "more than is done in one go";
}

/// START STOP UNIT and PREVENT ALLOW MEDIUM REMOVAL: nothing spins and nothing can be taken out, so
/// that all of their forms are done, and change nothing.
TEST(DiskUnitTest, NeitherStopsNorLocks) {
    DiskUnit unit(identity(), geometry());
    const UnitState before = unit.save();
    const Cdb read = cdb_of({0x28, 0, 0, 0, 0, 8, 0, 0, 2, 0});
    for (const int action : {0x00, 0x01, 0x02, 0x03}) { // stop, start, eject, load
        for (const int immediate : {0, 1}) {
            EXPECT_EQ(sense_after(unit, cdb_of({0x1b, immediate, 0, 0, action, 0})), no_sense);
            EXPECT_EQ(sense_after(unit, cdb_of({0x00})), no_sense) << "it is ready";
            EXPECT_EQ(access_of(unit, read).blocks, (Blocks{8, 2}));
        }
        // Allow, and three ways to prevent.
        EXPECT_EQ(sense_after(unit, cdb_of({0x1e, 0, 0, 0, action, 0})), no_sense);
        EXPECT_EQ(unit.save(), before);
    }
    EXPECT_EQ(unit.parameter_length(cdb_of({0x1b})), 0U);
    EXPECT_EQ(unit.parameter_length(cdb_of({0x1e})), 0U);
    EXPECT_EQ(direction_of(cdb_of({0x1b})), Direction::none);
    EXPECT_EQ(direction_of(cdb_of({0x1e})), Direction::none);
    EXPECT_TRUE(unit.has_medium());
}

TEST(DiskUnitTest, WhatItDoesNotKnow) {
    DiskUnit unit(identity(), geometry());
    for (const int code : {0x5e, 0x5f, 0x15, 0x55, 0x83, 0x84, 0xa3, 0x7f, 0xff, 0x43, 0x46}) {
        EXPECT_EQ(sense_after(unit, cdb_of({code})), invalid_command_operation_code) << code;
    }
}

TEST(ReportLunsTest, ListsThem) {
    const std::vector<std::uint8_t> luns = {0, 2, 63};
    const Answer answer = report_luns(cdb_of({0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0}), luns);
    ASSERT_EQ(answer.data.size(), 32U);
    EXPECT_EQ(get_be(answer.data, 0, 4), 24U);
    EXPECT_EQ(answer.data[9], 0);
    EXPECT_EQ(answer.data[17], 2);
    EXPECT_EQ(answer.data[25], 63);
    EXPECT_EQ(report_luns(cdb_of({0xa0, 0, 1, 0, 0, 0, 0, 0, 1, 0}), luns).data.size(), 8U);
    EXPECT_EQ(
        report_luns(cdb_of({0xa0, 0, 9, 0, 0, 0, 0, 0, 1, 0}), luns).sense, invalid_field_in_cdb);
    EXPECT_EQ(report_luns(cdb_of({0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 12}), luns).data.size(), 12U);
}

class DvdUnitTest : public ::testing::Test {
protected:
    static constexpr std::uint64_t disc_blocks = 1000;

    void insert() {
        unit_.medium_changed(disk::Geometry{.size = disc_blocks * 2048,
            .logical_sector_size = 2048,
            .physical_sector_size = 2048,
            .read_only = true});
    }
    void insert_and_look() {
        insert();
        EXPECT_EQ(sense_after(unit_, test_unit_ready_), medium_may_have_changed);
    }
    std::vector<std::uint8_t> events() {
        return data_of(unit_, cdb_of({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8, 0}));
    }

    const Cdb test_unit_ready_ = cdb_of({0x00});
    const Cdb eject_ = cdb_of({0x1b, 0, 0, 0, 0x02, 0});
    const Cdb load_ = cdb_of({0x1b, 0, 0, 0, 0x03, 0});
    DvdUnit unit_{identity()};
};

TEST_F(DvdUnitTest, EmptyDrive) {
    const auto inquiry = data_of(unit_, cdb_of({0x12, 0, 0, 0, 36, 0}));
    EXPECT_EQ(inquiry[0], 0x05);
    EXPECT_EQ(inquiry[1], 0x80);
    EXPECT_EQ(sense_after(unit_, test_unit_ready_), medium_not_present);
    EXPECT_EQ(sense_after(unit_, cdb_of({0x25})), medium_not_present);
    EXPECT_EQ(sense_after(unit_, cdb_of({0x43})), medium_not_present);
    EXPECT_EQ(sense_after(unit_, cdb_of({0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0})), medium_not_present);
    const auto features = data_of(unit_, cdb_of({0x46, 0, 0, 0, 0, 0, 0, 1, 0, 0}));
    EXPECT_EQ(get_be(features, 6, 2), 0U) << "no profile";
    EXPECT_EQ(events()[5], 0x00);
}

TEST_F(DvdUnitTest, ANewDiscIsAnEvent) {
    insert();
    EXPECT_EQ(get_be(events(), 4, 2), 0x0202U) << "asking for it is no unit attention";
}

TEST_F(DvdUnitTest, ReadsADisc) {
    insert_and_look();
    EXPECT_EQ(get_be(events(), 4, 2), 0x0202U) << "a new disc is there";
    EXPECT_EQ(get_be(events(), 4, 2), 0x0002U) << "which is told once";
    EXPECT_EQ(get_be(data_of(unit_, cdb_of({0x25})), 0, 8), (disc_blocks - 1) << 32 | 2048);
    EXPECT_EQ(access_of(unit_, cdb_of({0x28, 0, 0, 0, 0, 5, 0, 0, 2, 0})).blocks, (Blocks{5, 2}));
    EXPECT_EQ(sense_after(unit_, cdb_of({0x28, 0, 0, 0, 3, 0xe8, 0, 0, 1, 0})), lba_out_of_range);
    EXPECT_EQ(sense_after(unit_, cdb_of({0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0})),
        invalid_command_operation_code);
    const auto features = data_of(unit_, cdb_of({0x46, 0, 0, 0, 0, 0, 0, 1, 0, 0}));
    EXPECT_EQ(get_be(features, 0, 4), features.size() - 4);
    EXPECT_EQ(get_be(features, 6, 2), 0x0010U) << "a DVD-ROM";
    const auto one = data_of(unit_, cdb_of({0x46, 2, 0, 3, 0, 0, 0, 1, 0, 0}));
    ASSERT_EQ(one.size(), 16U);
    EXPECT_EQ(get_be(one, 8, 2), 0x0003U);
}

TEST_F(DvdUnitTest, TableOfContents) {
    insert_and_look();
    const auto toc = data_of(unit_, cdb_of({0x43, 0, 0, 0, 0, 0, 0, 1, 0, 0}));
    ASSERT_EQ(toc.size(), 20U);
    EXPECT_EQ(get_be(toc, 0, 4), 0x00120101U);
    EXPECT_EQ(get_be(toc, 4, 8), 0x0014010000000000U);
    EXPECT_EQ(get_be(toc, 12, 8), 0x0014aa0000000000U | disc_blocks);
    const auto as_time = data_of(unit_, cdb_of({0x43, 2, 0, 0, 0, 0, 0xaa, 1, 0, 0}));
    ASSERT_EQ(as_time.size(), 12U);
    EXPECT_EQ(get_be(as_time, 8, 4), 0x00000f19U) << "1150 frames are 15 seconds and 25";
    EXPECT_EQ(data_of(unit_, cdb_of({0x43, 0, 1, 0, 0, 0, 0, 1, 0, 0})).size(), 12U);
    EXPECT_EQ(sense_after(unit_, cdb_of({0x43, 0, 5})), invalid_field_in_cdb);
    EXPECT_EQ(sense_after(unit_, cdb_of({0x43, 0, 0, 0, 0, 0, 2})), invalid_field_in_cdb);
}

TEST_F(DvdUnitTest, TheGuestEjectsAndLoads) {
    insert_and_look();
    EXPECT_EQ(sense_after(unit_, cdb_of({0x1e, 0, 0, 0, 1, 0})), no_sense);
    EXPECT_TRUE(unit_.is_locked());
    EXPECT_EQ(sense_after(unit_, eject_), medium_removal_prevented);
    EXPECT_EQ(sense_after(unit_, cdb_of({0x1e, 0, 0, 0, 0, 0})), no_sense);
    EXPECT_EQ(sense_after(unit_, eject_), no_sense);
    EXPECT_EQ(sense_after(unit_, test_unit_ready_), medium_not_present_tray_open);
    EXPECT_EQ(get_be(events(), 4, 2), 0x0301U) << "removed, and the tray is open";
    EXPECT_EQ(sense_after(unit_, load_), no_sense);
    EXPECT_EQ(sense_after(unit_, test_unit_ready_), medium_may_have_changed);
    EXPECT_EQ(sense_after(unit_, test_unit_ready_), no_sense);
}

TEST_F(DvdUnitTest, TheHostClosesTheTray) {
    insert_and_look();
    EXPECT_EQ(sense_after(unit_, eject_), no_sense);
    insert_and_look();
    EXPECT_EQ(sense_after(unit_, test_unit_ready_), no_sense);
    unit_.medium_changed(std::nullopt);
    EXPECT_EQ(sense_after(unit_, test_unit_ready_), medium_not_present);
}

TEST_F(DvdUnitTest, ItsStateIsKept) {
    insert();
    EXPECT_EQ(sense_after(unit_, cdb_of({0x1e, 0, 0, 0, 1, 0})), medium_may_have_changed);
    EXPECT_EQ(sense_after(unit_, eject_), no_sense);
    EXPECT_EQ(sense_after(unit_, cdb_of({0x1e, 0, 0, 0, 1, 0})), no_sense);
    const UnitState state = unit_.save();
    EXPECT_EQ(state, (UnitState{0, true, true}));
    DvdUnit other(identity());
    other.restore(state);
    EXPECT_EQ(other.save(), state);
    EXPECT_EQ(sense_after(other, test_unit_ready_), medium_not_present_tray_open);
}

TEST_F(DvdUnitTest, CapabilitiesThatLinuxLooksFor) {
    const auto page = data_of(unit_, cdb_of({0x1a, 0, 0x2a, 0, 128, 0}));
    ASSERT_GT(page.size(), 20U);
    EXPECT_EQ(page[4], 0x2a);
    EXPECT_NE(page[4 + 2] & 0x08, 0) << "reads DVDs";
    EXPECT_EQ(page[4 + 6] >> 5, 1) << "has a tray";
    EXPECT_NE(page[4 + 6] & 0x08, 0) << "that ejects";
    EXPECT_EQ(
        sense_after(unit_, cdb_of({0x4a, 0, 0, 0, 0x10, 0, 0, 0, 8, 0})), invalid_field_in_cdb)
        << "it doesn't tell later";
}

} // namespace
} // namespace croft::vsp::storage::scsi
