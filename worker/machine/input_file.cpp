// SPDX-License-Identifier: Apache-2.0
#include "worker/machine/input_file.hpp"

#include "worker/error.hpp"
#include "worker/file_descriptor.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

namespace croft::worker {

std::vector<std::uint8_t> read_input_file(const std::string& path, std::string_view role,
    std::string_view option, std::uint64_t largest) {
    const auto refuse = [&](std::string_view found) {
        throw LoadError(
            fmt::format("{} {}: found {}, expected a file of at most {} MiB that can be "
                        "read; give another as {}",
                role, path, found, largest >> 20, option));
    };
    const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat status {};
    if (!file || fstat(file.get(), &status) != 0) {
        refuse(std::strerror(errno));
    }
    if (!S_ISREG(status.st_mode)) {
        refuse("something that isn't a file");
    }
    const auto size = static_cast<std::uint64_t>(status.st_size);
    if (size > largest) {
        refuse(fmt::format("{} MiB", size >> 20));
    }
    std::vector<std::uint8_t> bytes(size);
    std::size_t done = 0;
    while (done < bytes.size()) {
        const ssize_t result = read(file.get(), bytes.data() + done, bytes.size() - done);
        if (result < 0 && errno == EINTR) {
            continue;
        }
        if (result < 0) {
            refuse(std::strerror(errno));
        }
        if (result == 0) {
            bytes.resize(done); // it has become shorter
        }
        done += static_cast<std::size_t>(result);
    }
    return bytes;
}

} // namespace croft::worker
