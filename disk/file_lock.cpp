// SPDX-License-Identifier: Apache-2.0
#include "disk/file_lock.hpp"

#include "disk/holders.hpp"

#include <cerrno>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

namespace croft::disk {

namespace {

// QEMU's image locking (docs/system/qemu-block-drivers, "Disk image file locking"): who uses a
// permission holds a shared lock on one byte, who does not want others to use it on another one.
constexpr off_t used_base = 100;
constexpr off_t unshared_base = 200;
constexpr int permission_read = 0;
constexpr int permission_write = 1;
constexpr int permission_resize = 3;

struct flock bytes(short type, off_t first, off_t count = 1) {
    struct flock made {};
    made.l_type = type;
    made.l_whence = SEEK_SET;
    made.l_start = first;
    made.l_len = count;
    return made;
}

bool lock_byte(int descriptor, off_t byte) {
    struct flock lock = bytes(F_RDLCK, byte);
    return fcntl(descriptor, F_OFD_SETLK, &lock) == 0;
}

// Open file descriptions own these locks, so each byte may be locked by many at once; only whether
// one could be locked exclusively tells whether somebody else holds it.
bool others_hold(int descriptor, off_t byte) {
    struct flock lock = bytes(F_WRLCK, byte);
    return fcntl(descriptor, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

void unlock_byte(int descriptor, off_t byte) {
    struct flock lock = bytes(F_UNLCK, byte);
    fcntl(descriptor, F_OFD_SETLK, &lock);
}

void unlock_bytes(int descriptor) {
    struct flock lock = bytes(F_UNLCK, used_base, 2 * (unshared_base - used_base));
    fcntl(descriptor, F_OFD_SETLK, &lock);
}

// False when somebody else's locks are in the way. A file system that has no such locks lets all
// pass.
bool lock_bytes(int descriptor, bool writing) {
    lock_byte(descriptor, used_base + permission_read);
    if (writing) {
        lock_byte(descriptor, used_base + permission_write);
        lock_byte(descriptor, used_base + permission_resize);
    }
    lock_byte(descriptor, unshared_base + permission_write);
    lock_byte(descriptor, unshared_base + permission_resize);
    const bool refused = others_hold(descriptor, used_base + permission_write) ||
        others_hold(descriptor, used_base + permission_resize) ||
        others_hold(descriptor, unshared_base + permission_read) ||
        (writing && others_hold(descriptor, unshared_base + permission_write));
    return !refused;
}

Error in_use(const std::string& name, const std::string& holder) {
    return Error::of(ErrorCode::in_use, name,
        "in use by " + (holder.empty() ? std::string{"another process"} : holder));
}

} // namespace

Result<void> lock_file(int descriptor, const std::string& name, bool writing) {
    struct stat status {};
    if (fstat(descriptor, &status) != 0)
        return std::unexpected(Error::system(name, "stat", errno));
    const auto refuse = [&] {
        return std::unexpected(in_use(name, lock_holder(status.st_dev, status.st_ino, descriptor)));
    };
    const int kind = (writing ? LOCK_EX : LOCK_SH) | LOCK_NB;
    if (S_ISREG(status.st_mode) && !lock_bytes(descriptor, writing))
        return refuse();
    if (flock(descriptor, kind) != 0) {
        if (errno != EWOULDBLOCK)
            return std::unexpected(Error::system(name, "lock", errno));
        // Where the two kinds of locks are one (NFS), ours stand in their own way.
        unlock_bytes(descriptor);
        if (flock(descriptor, kind) != 0)
            return refuse();
    }
    if (S_ISREG(status.st_mode)) {
        const std::string loop = loop_device_over(descriptor, !writing);
        if (!loop.empty())
            return std::unexpected(in_use(name, loop));
    }
    return {};
}

void share_lock(int descriptor) {
    flock(descriptor, LOCK_SH | LOCK_NB);
    unlock_byte(descriptor, used_base + permission_write);
    unlock_byte(descriptor, used_base + permission_resize);
}

Error claimed_device(const std::string& path) {
    struct stat status {};
    std::string holder;
    if (stat(path.c_str(), &status) == 0)
        holder = device_claimant(status.st_rdev);
    return in_use(path, holder);
}

} // namespace croft::disk
