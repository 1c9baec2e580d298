// SPDX-License-Identifier: Apache-2.0
#include "disk/mount_list.hpp"

#include <algorithm>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <sstream>
#include <sys/stat.h>
#include <sys/sysmacros.h>

namespace croft::disk {

namespace {

// "/mnt/a b" is "/mnt/a\040b" in the kernel's list of mounts.
std::string unescaped(const std::string& text) {
    std::string made;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && i + 3 < text.size()) {
            made += static_cast<char>(std::strtol(text.substr(i + 1, 3).c_str(), nullptr, 8));
            i += 3;
        } else {
            made += text[i];
        }
    }
    return made;
}

bool leads_into(const std::string& path, const std::string& point) {
    return path.starts_with(point) &&
        (point.ends_with('/') || path.size() == point.size() || path[point.size()] == '/');
}

} // namespace

std::vector<Mount> read_mounts() {
    std::vector<Mount> found;
    std::ifstream mounts{"/proc/self/mountinfo"};
    for (std::string line; std::getline(mounts, line);) {
        std::istringstream words{line};
        std::string parent, root, word;
        unsigned major_number = 0;
        unsigned minor_number = 0;
        char colon = 0;
        Mount& it = found.emplace_back();
        words >> it.id >> parent >> major_number >> colon >> minor_number >> root >> it.point;
        while (words >> word && word != "-") {
        }
        words >> it.type >> it.source;
        it.point = unescaped(it.point);
        it.source = unescaped(it.source);
        it.device = makedev(major_number, minor_number);
    }
    return found;
}

const Mount* mount_of(const std::vector<Mount>& mounts, const std::string& path) {
    const Mount* found = nullptr;
    for (const Mount& it : mounts) {
        if (leads_into(path, it.point) &&
            (found == nullptr || it.point.size() >= found->point.size()))
            found = &it;
    }
    return found;
}

const Mount* mount_of(const std::vector<Mount>& mounts, int descriptor) {
    struct statx status {};
    if (statx(descriptor, "", AT_EMPTY_PATH, STATX_MNT_ID, &status) != 0 ||
        (status.stx_mask & STATX_MNT_ID) == 0)
        return nullptr;
    const auto found = std::ranges::find(mounts, static_cast<int>(status.stx_mnt_id), &Mount::id);
    return found == mounts.end() ? nullptr : &*found;
}

} // namespace croft::disk
