// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/file_store.hpp"
#include "disk/image.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace croft::disk::mount {

struct PrivateOptions {
    bool write = false;
    std::optional<Format> format{}; // without, what is in the file decides; see OpenOptions
    std::optional<unsigned> partition{};
    std::function<bool()> stopped{}; // asked where there is something to wait for
};

// A file system of a disk, mounted where only this process sees it: in a mount name space of its
// own. However the process ends, the mount ends with it, and the disk is closed.
class PrivateMount {
public:
    // The calling process stays in the name space; no other thread may be running.
    static Result<std::unique_ptr<PrivateMount>> create(
        const std::string& file, const PrivateOptions& options);
    PrivateMount(const PrivateMount&) = delete;
    PrivateMount& operator=(const PrivateMount&) = delete;
    ~PrivateMount();

    // The file system's root, for calls that take a directory.
    int root() const { return root_.get(); }
    // Everything that was written is on the disk when this returns.
    Result<void> finish();

private:
    class Parts;
    explicit PrivateMount(std::unique_ptr<Parts> parts);

    std::unique_ptr<Parts> parts_;
    Descriptor root_;
};

} // namespace croft::disk::mount
