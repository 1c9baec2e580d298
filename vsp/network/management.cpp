// SPDX-License-Identifier: Apache-2.0
#include "vsp/network/management.hpp"

#include "vsp/network/adapter.hpp"
#include "vsp/network/adapter_state.hpp"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <string>
#include <string_view>
#include <utility>

namespace croft::vsp::network {

using vdev::DeviceError;
using vdev::Record;
using vdev::RecordError;
using vmbus::remote::Bytes;

namespace {

constexpr std::uint32_t version = 1;

constexpr const char* plug_type = "nic-plug";
constexpr const char* leave_type = "nic-leave";
constexpr const char* idle_type = "nic-idle";
constexpr const char* report_type = "nic-report";
constexpr const char* save_type = "nic-save";
constexpr const char* restore_type = "nic-restore";
constexpr const char* reset_type = "nic-reset";
constexpr const char* done_type = "nic-done";
constexpr const char* refused_type = "nic-refused";
constexpr const char* traffic_type = "nic-traffic";

constexpr std::size_t longest_refusal = 1024;

constexpr std::array<std::string_view, cast_count> casts = {"directed", "multicast", "broadcast"};

Record record_of(const Traffic<std::uint64_t>& traffic) {
    Record record(traffic_type, version);
    for (std::size_t cast = 0; cast < cast_count; ++cast) {
        record.set(fmt::format("{}_frames", casts.at(cast)), traffic.frames.at(cast))
            .set(fmt::format("{}_bytes", casts.at(cast)), traffic.bytes.at(cast));
    }
    return record.set("errors", traffic.errors).set("no_buffer", traffic.no_buffer);
}

Traffic<std::uint64_t> traffic_of(const Record& record) {
    record.expect(traffic_type, version);
    Traffic<std::uint64_t> traffic;
    for (std::size_t cast = 0; cast < cast_count; ++cast) {
        traffic.frames.at(cast) =
            record.get<std::uint64_t>(fmt::format("{}_frames", casts.at(cast)));
        traffic.bytes.at(cast) = record.get<std::uint64_t>(fmt::format("{}_bytes", casts.at(cast)));
    }
    traffic.errors = record.get<std::uint64_t>("errors");
    traffic.no_buffer = record.get<std::uint64_t>("no_buffer");
    return traffic;
}

Record record_of(const AdapterReport& report) {
    Record record(done_type, version);
    record.set_flag("plugged", report.plugged)
        .set_flag("connected", report.connected)
        .set("channels", report.channels)
        .set_records(
            "traffic", {record_of(report.statistics.sent), record_of(report.statistics.received)});
    return record;
}

/// The only one in a list.
Record single(const Record& record, std::string_view field) {
    std::vector<Record> records = record.get_records(field);
    if (records.size() != 1) {
        throw RecordError(fmt::format("{}: found {} records in the field '{}', expected one",
            record.type(), records.size(), field));
    }
    return std::move(records.front());
}

/// It goes to logs and terminals.
std::string printable(std::string text) {
    text.resize(std::min(text.size(), longest_refusal));
    std::ranges::replace_if(
        text, [](char letter) { return letter < 0x20 || letter >= 0x7f; }, '?');
    return text;
}

Record refusal(const std::string& reason) {
    return Record(refused_type, version).set_text("reason", printable(reason));
}

} // namespace

AdapterReport AdapterReport::of(const Adapter& adapter) {
    return {adapter.is_plugged(), adapter.is_connected(), adapter.open_channels(),
        adapter.statistics()};
}

// In the adapter's process

ManagedAdapter::ManagedAdapter(Adapter& adapter, std::function<Condition()> condition)
    : adapter_(adapter),
      condition_(std::move(condition)) {}

void ManagedAdapter::require_idle(bool without_channels) const {
    const Condition condition = condition_();
    if (!condition.idle || (without_channels && condition.has_channels)) {
        throw DeviceError(fmt::format("found the adapter {}, expected it stopped{}; stop it first",
            condition.idle ? "with open channels" : "at work",
            without_channels ? " and without channels" : ""));
    }
}

Record ManagedAdapter::handle(const Record& question) {
    question.expect(question.type(), version);
    if (question.type() == report_type) {
        return record_of(AdapterReport::of(adapter_));
    }
    Record answer(done_type, version);
    if (question.type() == plug_type) {
        adapter_.set_plugged(question.get_flag("plugged"));
    } else if (question.type() == leave_type) {
        adapter_.take_leave();
    } else if (question.type() == save_type) {
        require_idle(false);
        answer.set_records("state", {adapter_.save()});
    } else if (question.type() == restore_type) {
        require_idle(true);
        adapter_.restore(single(question, "state"));
    } else if (question.type() == reset_type) {
        require_idle(true);
        adapter_.reset();
    } else {
        return refusal("found a question that isn't known; use programs of the same release");
    }
    return answer;
}

/// What the guest has under way is known to the channels' threads.
void ManagedAdapter::answer_idle(const Answered& answered) {
    adapter_.ask_idle([answered](bool is_idle) {
        answered(Record(done_type, version).set_flag("idle", is_idle).encode());
    });
}

void ManagedAdapter::answer(std::span<const std::uint8_t> question, const Answered& answered) {
    Record answer = refusal("");
    try {
        const Record asked = Record::decode(question);
        if (asked.type() == idle_type) {
            answer_idle(answered);
            return;
        }
        answer = handle(asked);
    } catch (const Error& error) {
        answer = refusal(error.what());
    }
    Bytes bytes = answer.encode();
    if (bytes.size() > vmbus::remote::longest_content) {
        bytes = refusal(fmt::format("found a state of {} bytes, expected at most {}", bytes.size(),
                            vmbus::remote::longest_content))
                    .encode();
    }
    answered(std::move(bytes));
}

// In the process that has VMBus

Record DistantAdapter::ask(const Record& question) const {
    Record answer = Record::decode(exchange_(question.encode()));
    if (answer.type() == refused_type) {
        throw DeviceError(printable(answer.get_text("reason")));
    }
    answer.expect(done_type, version);
    return answer;
}

void DistantAdapter::set_plugged(bool plugged) const {
    (void)ask(Record(plug_type, version).set_flag("plugged", plugged));
}

void DistantAdapter::take_leave() const {
    (void)ask(Record(leave_type, version));
}

bool DistantAdapter::is_idle() const {
    return ask(Record(idle_type, version)).get_flag("idle");
}

AdapterReport DistantAdapter::report() const {
    const Record answer = ask(Record(report_type, version));
    AdapterReport report;
    report.plugged = answer.get_flag("plugged");
    report.connected = answer.get_flag("connected");
    report.channels = answer.get<std::uint16_t>("channels");
    const std::vector<Record> traffic = answer.get_records("traffic");
    if (traffic.size() != 2) {
        throw RecordError(fmt::format("{}: found {} records of traffic, expected one each way",
            answer.type(), traffic.size()));
    }
    report.statistics = {traffic_of(traffic[0]), traffic_of(traffic[1])};
    return report;
}

Record DistantAdapter::save() const {
    Record state = single(ask(Record(save_type, version)), "state");
    (void)AdapterState::load(state);
    return state;
}

void DistantAdapter::restore(const Record& record) const {
    try {
        (void)ask(Record(restore_type, version).set_records("state", {record}));
    } catch (const DeviceError& error) {
        throw RecordError(error.what());
    }
}

void DistantAdapter::reset() const {
    (void)ask(Record(reset_type, version));
}

} // namespace croft::vsp::network
