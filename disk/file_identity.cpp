// SPDX-License-Identifier: Apache-2.0
#include "disk/file_identity.hpp"

#include "disk/file_store.hpp"

#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statfs.h>

namespace croft::disk {

std::string file_identity(int descriptor) {
    struct statfs system {};
    struct statx file {};
    if (fstatfs(descriptor, &system) != 0 ||
        statx(descriptor, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &file) != 0)
        return {};
    std::uint64_t id = 0;
    static_assert(sizeof(system.f_fsid) == sizeof(id));
    std::memcpy(&id, &system.f_fsid, sizeof(id));
    const bool has_birth = (file.stx_mask & STATX_BTIME) != 0;
    return fmt::format("{:x} {} {}.{}", id, file.stx_ino, has_birth ? file.stx_btime.tv_sec : 0,
        has_birth ? file.stx_btime.tv_nsec : 0);
}

std::string file_identity(const std::string& path) {
    const Descriptor file{::open(path.c_str(), O_PATH | O_CLOEXEC)};
    return file.valid() ? file_identity(file.get()) : std::string{};
}

} // namespace croft::disk
