// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vdev/error.hpp"

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace croft::vdev {

/// The saved state of one device: a type, a version and named fields, so that a reader that knows
/// nothing of the device can still show it, and one that does can tell what it may read.
///
/// Rules that keep old states readable: a field never changes its meaning; a new field raises the
/// version and the reader gives it a default for older ones; a type is never used for another
/// device. Everything read from a record is checked here, since a record may come from another
/// host.
class Record {
public:
    Record(std::string type, std::uint32_t version);
    Record(const Record& other);
    Record(Record&& other) noexcept;
    Record& operator=(const Record& other);
    Record& operator=(Record&& other) noexcept;
    ~Record();

    [[nodiscard]] const std::string& type() const { return type_; }
    [[nodiscard]] std::uint32_t version() const { return version_; }

    /// Refuses a record that isn't of `type` or whose version isn't in 1..`newest`.
    void expect(std::string_view type, std::uint32_t newest) const;

    Record& set(std::string_view field, std::uint64_t value);
    Record& set_signed(std::string_view field, std::int64_t value);
    Record& set_flag(std::string_view field, bool value);
    Record& set_bytes(std::string_view field, std::span<const std::uint8_t> value);
    Record& set_text(std::string_view field, std::string value);
    Record& set_records(std::string_view field, const std::vector<Record>& value);

    [[nodiscard]] bool has(std::string_view field) const;

    /// The number in `field`. Errors: no such field, not a number, larger than T or than `largest`.
    template <std::unsigned_integral T>
    [[nodiscard]] T get(std::string_view field, T largest = std::numeric_limits<T>::max()) const {
        return static_cast<T>(number(field, largest));
    }
    [[nodiscard]] std::int64_t get_signed(std::string_view field) const;
    [[nodiscard]] bool get_flag(std::string_view field) const;
    /// The bytes in `field`. Errors: no such field, not bytes, longer than `longest`.
    [[nodiscard]] std::vector<std::uint8_t> get_bytes(
        std::string_view field, std::size_t longest) const;
    [[nodiscard]] std::string get_text(std::string_view field) const;
    [[nodiscard]] std::vector<Record> get_records(std::string_view field) const;

    /// As JSON, for people and for tools; bytes appear as the library writes binary values.
    [[nodiscard]] nlohmann::json to_json() const;
    /// As CBOR (RFC 8949), the form in which it is stored and sent.
    [[nodiscard]] std::vector<std::uint8_t> encode() const;
    /// The inverse of `encode`. Errors: RecordError for anything that `encode` can't have written.
    [[nodiscard]] static Record decode(std::span<const std::uint8_t> bytes);

    friend bool operator==(const Record& left, const Record& right);

private:
    [[nodiscard]] static Record from_json(const nlohmann::json& json);
    [[nodiscard]] const nlohmann::json& field_of(std::string_view field) const;
    [[nodiscard]] std::uint64_t number(std::string_view field, std::uint64_t largest) const;
    [[noreturn]] void refuse(
        std::string_view field, std::string_view found, std::string_view expected) const;

    std::string type_;
    std::uint32_t version_;
    /// Behind a pointer, or all that include this would compile the library.
    std::unique_ptr<nlohmann::json> fields_;
};

} // namespace croft::vdev
