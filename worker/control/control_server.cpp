// SPDX-License-Identifier: Apache-2.0
#include "worker/control/control_server.hpp"

#include "worker/error.hpp"

#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <sys/socket.h>
#include <utility>

namespace croft::worker {

using nlohmann::json;

namespace {

constexpr std::size_t longest_line = 65536;

/// What is sent back for a request: what `handle` answers, or why it can't.
template <typename Handle>
std::string answer_by(const Handle& handle) {
    json result;
    try {
        result = handle();
        result["ok"] = true;
    } catch (const json::exception&) {
        result = {{"ok", false},
            {"error",
                "request: found a line that isn't as expected; send a JSON object with "
                "\"command\" and its arguments"}};
    } catch (const Error& error) {
        result = {{"ok", false}, {"error", error.what()}};
    }
    return result.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

json parse(const std::string& line) {
    json request = json::parse(line);
    if (!request.is_object() || !request.contains("command")) {
        throw SettingsError("request: found no \"command\", expected {\"command\": …}; send one");
    }
    return request;
}

} // namespace

struct ControlServer::Client {
    FileDescriptor socket;
    std::array<std::uint8_t, 4096> buffer{};
    std::string input;
    std::string output;
    /// A request is being done; the next one waits.
    bool busy = false;
    bool closing = false;
};

ControlServer::ControlServer(IoLoop& loop, IoLoop& control, std::string path, Handlers handlers)
    : loop_(loop),
      control_(control),
      listener_(std::move(path), "control socket", "--control"),
      handlers_(std::move(handlers)) {
    accept_next();
}

ControlServer::~ControlServer() = default;

void ControlServer::accept_next() {
    loop_.accept(listener_.descriptor(), [this](int result) { accepted(result); });
}

void ControlServer::accepted(int result) {
    if (result >= 0) {
        const std::uint64_t id = next_client_++;
        auto client = std::make_unique<Client>();
        client->socket = FileDescriptor(result);
        clients_.emplace(id, std::move(client));
        read_more(id);
    }
    accept_next();
}

void ControlServer::read_more(std::uint64_t id) {
    Client& client = *clients_.at(id);
    loop_.read(
        client.socket.get(), client.buffer, [this, id](int result) { received(id, result); });
}

void ControlServer::received(std::uint64_t id, int result) {
    Client& client = *clients_.at(id);
    if (result <= 0) {
        clients_.erase(id);
        return;
    }
    client.input.append(client.buffer.begin(), client.buffer.begin() + result);
    take_lines(id);
}

/// Has what has come done, a line after the other.
void ControlServer::take_lines(std::uint64_t id) {
    Client& client = *clients_.at(id);
    while (!client.busy) {
        const std::size_t end = client.input.find('\n');
        if (end == std::string::npos) {
            break;
        }
        const std::string line = client.input.substr(0, end);
        client.input.erase(0, end + 1);
        client.busy = true;
        handle(id, line);
    }
    if (client.busy) {
        return;
    }
    if (client.input.size() > longest_line) {
        client.output +=
            json{{"ok", false}, {"error", "request: found a line that is too long"}}.dump() + "\n";
        client.closing = true;
    }
    send(id);
}

void ControlServer::handle(std::uint64_t id, const std::string& line) {
    bool is_answered = true;
    const std::string answer = answer_by([&]() -> json {
        std::optional<json> result = handlers_.urgent(parse(line));
        is_answered = result.has_value();
        return result.value_or(json::object());
    });
    if (is_answered) {
        clients_.at(id)->output += answer;
        clients_.at(id)->busy = false;
        return;
    }
    control_.post([this, id, line] {
        std::string done = answer_by([&] { return handlers_.others(parse(line)); });
        loop_.post([this, id, answer = std::move(done)] { answered(id, answer); });
    });
}

void ControlServer::answered(std::uint64_t id, const std::string& answer) {
    Client& client = *clients_.at(id); // while it is busy, nothing is read that might end it
    client.output += answer;
    client.busy = false;
    take_lines(id);
}

void ControlServer::send(std::uint64_t id) {
    Client& client = *clients_.at(id);
    // Mostly there is room, and the answer to a request that ends the worker is out before it ends.
    const ssize_t sent = ::send(client.socket.get(), client.output.data(), client.output.size(),
        MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) {
        client.output.erase(0, static_cast<std::size_t>(sent));
    } else if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        clients_.erase(id);
        return;
    }
    if (!client.output.empty()) {
        loop_.poll(client.socket.get(), POLLOUT, [this, id](int) { send(id); });
    } else if (client.closing) {
        clients_.erase(id);
    } else {
        read_more(id);
    }
}

} // namespace croft::worker
