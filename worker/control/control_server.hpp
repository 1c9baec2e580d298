// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/control/unix_listener.hpp"
#include "worker/executor/io_loop.hpp"
#include "worker/file_descriptor.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

namespace croft::worker {

/// A Unix socket on which each line is a request and each answer is a line, both JSON objects:
///
///     {"command": "status"}
///     {"ok": true, "state": "running", ...}
///     {"ok": false, "error": "…"}
///
/// Several clients may be connected; their requests are done one after the other on the worker's
/// control thread. What must not wait for others is answered on the server's own.
class ControlServer {
public:
    /// Does one request and answers its result, an object that `ok` is added to. May throw Error.
    using Handler = std::function<nlohmann::json(const nlohmann::json& request)>;

    /// The same for what must not wait; none for all else.
    using UrgentHandler = std::function<std::optional<nlohmann::json>(const nlohmann::json&)>;

    struct Handlers {
        UrgentHandler urgent; // on `loop`
        Handler others;       // on `control`
    };

    /// Listens at `path`, which only this user may connect to. A socket file that nobody listens at
    /// any more is replaced. Errors: SystemError.
    ControlServer(IoLoop& loop, IoLoop& control, std::string path, Handlers handlers);
    /// Closes all connections and takes the socket file away. The loops no longer run.
    ~ControlServer();
    ControlServer(const ControlServer&) = delete;
    ControlServer& operator=(const ControlServer&) = delete;

private:
    struct Client;

    void accept_next();
    void accepted(int result);
    void read_more(std::uint64_t id);
    void received(std::uint64_t id, int result);
    void take_lines(std::uint64_t id);
    void handle(std::uint64_t id, const std::string& line);
    void answered(std::uint64_t id, const std::string& answer);
    void send(std::uint64_t id);

    IoLoop& loop_;
    IoLoop& control_;
    UnixListener listener_;
    const Handlers handlers_;
    std::map<std::uint64_t, std::unique_ptr<Client>> clients_;
    std::uint64_t next_client_ = 1;
};

} // namespace croft::worker
