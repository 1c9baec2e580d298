// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace croft::cli {

// The files of a guest's file system. Every name and link in it is the guest's: none leads out.
class GuestFiles {
public:
    // `root` is the directory that is "/" to the guest; it outlives the object.
    explicit GuestFiles(int root) : root_{root} {}

    struct Kernel {
        std::string kernel;
        std::string ram_disk; // "" for none
    };
    // What the system would boot by default: where /vmlinuz leads, or the newest version.
    std::optional<Kernel> find_kernel() const;

    // Whether there is such a file.
    bool has(const std::string& path) const;
    // Puts its contents into `target`, which is empty; false if it can't be read or is too large.
    bool copy(const std::string& path, int target) const;

private:
    int open(const std::string& path, int flags) const;
    std::vector<std::string> kernels_in(const std::string& folder) const;

    int root_;
};

} // namespace croft::cli
