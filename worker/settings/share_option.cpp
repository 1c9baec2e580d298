// SPDX-License-Identifier: Apache-2.0
#include "worker/settings/share_option.hpp"

#include "worker/error.hpp"

#include <charconv>
#include <fmt/format.h>
#include <optional>

namespace croft::worker {

namespace {

std::optional<std::uint32_t> number_of(std::string_view text) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return value;
}

} // namespace

std::uint32_t parse_percent(std::string_view text, std::string_view place) {
    constexpr std::uint32_t whole = 100;
    constexpr std::size_t most_digits = 3;
    const std::size_t point = text.find('.');
    std::string digits{point == std::string_view::npos ? "0" : text.substr(point + 1)};
    const auto percent = number_of(text.substr(0, point));
    const bool fits = !digits.empty() && digits.size() <= most_digits;
    digits.resize(most_digits, '0');
    const auto thousandths = number_of(digits);
    if (!fits || !percent || !thousandths || *percent > whole ||
        (*percent == whole && *thousandths != 0)) {
        throw SettingsError(fmt::format(
            "{}: found \"{}\", expected a percentage from 0 to 100, as 25 or 12.5; correct it",
            place, text));
    }
    return *percent * 1000 + *thousandths;
}

std::uint64_t parse_processor_list(std::string_view text, std::string_view place) {
    constexpr std::uint32_t most = 64;
    std::uint64_t set = 0;
    for (std::size_t at = 0; at <= text.size();) {
        const std::size_t end = std::min(text.find(',', at), text.size());
        const std::string_view range = text.substr(at, end - at);
        const std::size_t dash = range.find('-');
        const auto first = number_of(range.substr(0, dash));
        const auto last =
            dash == std::string_view::npos ? first : number_of(range.substr(dash + 1));
        if (!first || !last || *first > *last || *last >= most) {
            throw SettingsError(fmt::format("{}: found \"{}\", expected processors of the host "
                                            "below {}, as 0-3,8; correct it",
                place, text, most));
        }
        for (std::uint32_t one = *first; one <= *last; ++one) {
            set |= std::uint64_t{1} << one;
        }
        at = end + 1;
    }
    return set;
}

std::string processor_list(std::uint64_t set) {
    std::string text;
    for (unsigned first = 0; first < 64; ++first) {
        if (((set >> first) & 1) == 0) {
            continue;
        }
        unsigned last = first;
        while (last + 1 < 64 && ((set >> (last + 1)) & 1) != 0) {
            ++last;
        }
        text += fmt::format("{}{}", text.empty() ? "" : ",", first);
        if (last != first) {
            text += fmt::format("-{}", last);
        }
        first = last;
    }
    return text;
}

} // namespace croft::worker
