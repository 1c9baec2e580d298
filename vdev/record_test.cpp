// SPDX-License-Identifier: Apache-2.0
#include "vdev/record.hpp"

#include <array>
#include <gtest/gtest.h>

namespace croft::vdev {
namespace {

Record sample() {
    Record inner("inner", 1);
    inner.set("number", 7);
    Record record("sample", 3);
    record.set("number", 300)
        .set_signed("signed", -5)
        .set_flag("flag", true)
        .set_bytes("bytes", std::array<std::uint8_t, 3>{1, 2, 3})
        .set_text("text", "ä")
        .set_records("list", {inner, inner});
    return record;
}

TEST(Record, ComesBackFromItsBytes) {
    const Record copy = Record::decode(sample().encode());
    EXPECT_EQ(copy, sample());
    EXPECT_EQ(copy.type(), "sample");
    EXPECT_EQ(copy.version(), 3U);
    EXPECT_EQ(copy.get<std::uint16_t>("number"), 300U);
    EXPECT_EQ(copy.get_signed("signed"), -5);
    EXPECT_TRUE(copy.get_flag("flag"));
    EXPECT_EQ(copy.get_bytes("bytes", 3), (std::vector<std::uint8_t>{1, 2, 3}));
    EXPECT_EQ(copy.get_text("text"), "ä");
    ASSERT_EQ(copy.get_records("list").size(), 2U);
    EXPECT_EQ(copy.get_records("list")[1].get<std::uint8_t>("number"), 7U);
}

TEST(Record, RefusesWhatAFieldCannotBe) {
    const Record record = sample();
    EXPECT_THROW((void)record.get<std::uint8_t>("number"), RecordError);
    EXPECT_THROW((void)record.get<std::uint16_t>("number", 299), RecordError);
    EXPECT_THROW((void)record.get<std::uint16_t>("signed"), RecordError);
    EXPECT_THROW((void)record.get<std::uint16_t>("text"), RecordError);
    EXPECT_THROW((void)record.get<std::uint16_t>("absent"), RecordError);
    EXPECT_THROW((void)record.get_bytes("bytes", 2), RecordError);
    EXPECT_THROW((void)record.get_flag("number"), RecordError);
    EXPECT_THROW((void)record.get_records("bytes"), RecordError);
}

TEST(Record, RefusesAnotherTypeAndALaterVersion) {
    EXPECT_NO_THROW(sample().expect("sample", 3));
    EXPECT_THROW(sample().expect("sample", 2), RecordError);
    EXPECT_THROW(sample().expect("other", 3), RecordError);
    EXPECT_THROW(Record("sample", 0).expect("sample", 3), RecordError);
}

TEST(Record, RefusesBytesThatItDidNotWrite) {
    const std::vector<std::uint8_t> whole = sample().encode();
    for (std::size_t size = 0; size < whole.size(); ++size) {
        EXPECT_THROW((void)Record::decode(std::span(whole).first(size)), RecordError) << size;
    }
    EXPECT_THROW((void)Record::decode(std::array<std::uint8_t, 1>{0xa0}), RecordError);
    EXPECT_THROW((void)Record::decode(std::array<std::uint8_t, 1>{0x01}), RecordError);
}

TEST(Record, RefusesBytesThatNestForEver) {
    EXPECT_THROW((void)Record::decode(std::vector<std::uint8_t>(1'000'000, 0x81)), RecordError);
    EXPECT_THROW((void)Record::decode(std::vector<std::uint8_t>(1'000'000, 0x9b)), RecordError);
    EXPECT_THROW((void)Record::decode(std::vector<std::uint8_t>(1'000'000, 0xbf)), RecordError);
}

} // namespace
} // namespace croft::vdev
