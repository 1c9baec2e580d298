// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "vmbus/server/server.hpp"

namespace croft::vmbus {

/// A call into the server. Services answer from within calls that they get, so only when the
/// outermost call ends is everything in its place, and what follows is done then.
class Server::Entry {
public:
    explicit Entry(Server& server) : server_(server) {
        ++server_.depth_;
        server_.settle_again_ = true;
    }
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    ~Entry() {
        if (server_.depth_ == 1) {
            server_.settle();
        }
        --server_.depth_;
    }

private:
    Server& server_;
};

} // namespace croft::vmbus
