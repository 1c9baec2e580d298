// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/file_descriptor.hpp"

#include <string>
#include <string_view>

namespace croft::worker {

/// A Unix socket that is listened at, and its file as long as the object lives.
class UnixListener {
public:
    /// Only this user may connect to it. A socket file that nobody listens at any more is replaced.
    /// Messages call it `role`, and `option` is how to give another path. Errors: SystemError.
    UnixListener(std::string path, std::string_view role, std::string_view option);
    ~UnixListener();
    UnixListener(const UnixListener&) = delete;
    UnixListener& operator=(const UnixListener&) = delete;

    [[nodiscard]] int descriptor() const { return socket_.get(); }

private:
    const std::string path_;
    FileDescriptor socket_;
};

} // namespace croft::worker
