// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/file_store.hpp"

#include <string>
#include <sys/stat.h>
#include <utility>

namespace croft::disk::tool {

// A new file beside the one that it is going to be; gone unless kept. Until then nothing has
// happened to what has the name.
class Draft {
public:
    enum class Existing : unsigned char {
        refused,
        replaced,
        replaced_by_user, // the caller has it open for writing, so nobody else has
    };
    // Symbolic links are followed: it is the file they lead to that is replaced. Refuses what is no
    // regular file, or is in use by somebody who writes to it.
    static Result<Draft> begin(const std::string& target, Existing existing);
    Draft(Draft&& other) noexcept
        : named_{std::move(other.named_)},
          target_{std::move(other.target_)},
          path_{std::exchange(other.path_, {})},
          existing_{other.existing_},
          lock_{std::move(other.lock_)} {}
    Draft& operator=(Draft&&) = delete;
    ~Draft();

    const std::string& path() const { return path_; }

    // Gives the new file the name, and the rights of the one that had it.
    Result<void> keep();

    // The same outcome, where errors name the file as the user did.
    template <class T>
    Result<T> named(Result<T> outcome) const {
        if (!outcome && outcome.error().file == path_)
            outcome.error().file = named_;
        return outcome;
    }

private:
    Draft() = default;
    Result<void> admit(const struct stat& status);

    std::string named_;
    std::string target_;
    std::string path_; // empty: there is nothing to remove
    Existing existing_ = Existing::refused;
    Descriptor lock_; // of the file that has the name
};

bool is_block_device(const std::string& path);

} // namespace croft::disk::tool
