// SPDX-License-Identifier: Apache-2.0
#include "vdev/record.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

namespace croft::vdev {

using nlohmann::json;

namespace {

/// Builds the value as the library would, but no deeper than a record ever is: its reader descends
/// by recursion, and the input may come from anybody.
class ShallowBuilder : public nlohmann::detail::json_sax_dom_parser<json> {
public:
    using Base = nlohmann::detail::json_sax_dom_parser<json>;

    explicit ShallowBuilder(json& result) : Base(result, /*allow_exceptions=*/false) {}

    bool start_object(std::size_t size) { return ++depth_ <= deepest && Base::start_object(size); }
    bool end_object() {
        --depth_;
        return Base::end_object();
    }
    bool start_array(std::size_t size) { return ++depth_ <= deepest && Base::start_array(size); }
    bool end_array() {
        --depth_;
        return Base::end_array();
    }

private:
    /// A machine holds devices, these a state, that perhaps parts: three values deep each.
    static constexpr unsigned deepest = 24;

    unsigned depth_ = 0;
};

/// Nothing if the bytes aren't one whole value.
std::optional<json> parse_cbor(std::span<const std::uint8_t> bytes) {
    json result;
    ShallowBuilder builder(result);
    try {
        const bool done = json::sax_parse(
            bytes.begin(), bytes.end(), &builder, json::input_format_t::cbor, /*strict=*/true);
        return done && !builder.is_errored() ? std::optional(std::move(result)) : std::nullopt;
    } catch (const json::exception&) {
        return std::nullopt; // sizes that no container can have
    }
}

} // namespace

Record::Record(std::string type, std::uint32_t version)
    : type_(std::move(type)),
      version_(version),
      fields_(std::make_unique<json>(json::object())) {}

Record::Record(const Record& other)
    : type_(other.type_),
      version_(other.version_),
      fields_(std::make_unique<json>(*other.fields_)) {}

Record::Record(Record&& other) noexcept = default;

Record& Record::operator=(const Record& other) {
    return *this = Record(other);
}

Record& Record::operator=(Record&& other) noexcept = default;

Record::~Record() = default;

bool operator==(const Record& left, const Record& right) {
    return left.type_ == right.type_ && left.version_ == right.version_ &&
        *left.fields_ == *right.fields_;
}

void Record::expect(std::string_view type, std::uint32_t newest) const {
    if (type_ != type) {
        throw RecordError(
            fmt::format("saved state: found a record of '{}', expected '{}'; give the "
                        "file that was saved from a VM of the same settings",
                type_, type));
    }
    if (version_ == 0 || version_ > newest) {
        throw RecordError(fmt::format("saved state of '{}': found version {}, expected 1 to {}; "
                                      "restore it with the release that saved it",
            type_, version_, newest));
    }
}

Record& Record::set(std::string_view field, std::uint64_t value) {
    (*fields_)[std::string(field)] = value;
    return *this;
}

Record& Record::set_signed(std::string_view field, std::int64_t value) {
    (*fields_)[std::string(field)] = value;
    return *this;
}

Record& Record::set_flag(std::string_view field, bool value) {
    (*fields_)[std::string(field)] = value;
    return *this;
}

Record& Record::set_bytes(std::string_view field, std::span<const std::uint8_t> value) {
    (*fields_)[std::string(field)] = json::binary({value.begin(), value.end()});
    return *this;
}

Record& Record::set_text(std::string_view field, std::string value) {
    (*fields_)[std::string(field)] = std::move(value);
    return *this;
}

Record& Record::set_records(std::string_view field, const std::vector<Record>& value) {
    json list = json::array();
    for (const Record& record : value) {
        list.push_back(record.to_json());
    }
    (*fields_)[std::string(field)] = std::move(list);
    return *this;
}

bool Record::has(std::string_view field) const {
    return fields_->contains(std::string(field));
}

std::int64_t Record::get_signed(std::string_view field) const {
    const json& value = field_of(field);
    if (!value.is_number_integer()) {
        refuse(field, value.type_name(), "a whole number");
    }
    if (value.is_number_unsigned() &&
        value.get<std::uint64_t>() > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
        refuse(field, value.dump(), "a signed number of 64 bits");
    }
    return value.get<std::int64_t>();
}

bool Record::get_flag(std::string_view field) const {
    const json& value = field_of(field);
    if (!value.is_boolean()) {
        refuse(field, value.type_name(), "true or false");
    }
    return value.get<bool>();
}

std::vector<std::uint8_t> Record::get_bytes(std::string_view field, std::size_t longest) const {
    const json& value = field_of(field);
    if (!value.is_binary()) {
        refuse(field, value.type_name(), "bytes");
    }
    const json::binary_t& bytes = value.get_binary();
    if (bytes.size() > longest) {
        refuse(field, fmt::format("{} bytes", bytes.size()), fmt::format("at most {}", longest));
    }
    return {bytes.begin(), bytes.end()};
}

std::string Record::get_text(std::string_view field) const {
    const json& value = field_of(field);
    if (!value.is_string()) {
        refuse(field, value.type_name(), "text");
    }
    return value.get<std::string>();
}

std::vector<Record> Record::get_records(std::string_view field) const {
    const json& value = field_of(field);
    if (!value.is_array()) {
        refuse(field, value.type_name(), "a list of records");
    }
    std::vector<Record> records;
    for (const json& entry : value) {
        records.push_back(from_json(entry));
    }
    return records;
}

json Record::to_json() const {
    return {{"type", type_}, {"version", version_}, {"fields", *fields_}};
}

std::vector<std::uint8_t> Record::encode() const {
    return json::to_cbor(to_json());
}

Record Record::decode(std::span<const std::uint8_t> bytes) {
    const std::optional<json> parsed = parse_cbor(bytes);
    if (!parsed) {
        throw RecordError(
            "saved state: found bytes that aren't CBOR, expected a record; give a file "
            "that this program saved");
    }
    return from_json(*parsed);
}

Record Record::from_json(const json& parsed) {
    const auto is_record = [&] {
        return parsed.is_object() && parsed.size() == 3 && parsed.contains("type") &&
            parsed.at("type").is_string() && parsed.contains("version") &&
            parsed.at("version").is_number_unsigned() && parsed.contains("fields") &&
            parsed.at("fields").is_object() &&
            parsed.at("version").get<std::uint64_t>() <= std::numeric_limits<std::uint32_t>::max();
    };
    if (!is_record()) {
        throw RecordError("saved state: found CBOR that isn't a record, expected 'type', 'version' "
                          "and 'fields'; give a file that this program saved");
    }
    Record record(parsed.at("type").get<std::string>(), parsed.at("version").get<std::uint32_t>());
    *record.fields_ = parsed.at("fields");
    return record;
}

const json& Record::field_of(std::string_view field) const {
    const auto found = fields_->find(std::string(field));
    if (found == fields_->end()) {
        refuse(field, "nothing", "a value");
    }
    return *found;
}

std::uint64_t Record::number(std::string_view field, std::uint64_t largest) const {
    const json& value = field_of(field);
    if (!value.is_number_unsigned()) {
        refuse(field, value.is_number() ? value.dump() : value.type_name(),
            "a whole number of 0 or more");
    }
    const auto result = value.get<std::uint64_t>();
    if (result > largest) {
        refuse(field, value.dump(), fmt::format("at most {}", largest));
    }
    return result;
}

void Record::refuse(
    std::string_view field, std::string_view found, std::string_view expected) const {
    throw RecordError(
        fmt::format("saved state of '{}', field '{}': found {}, expected {}; the file "
                    "is damaged or was changed",
            type_, field, found, expected));
}

} // namespace croft::vdev
