// SPDX-License-Identifier: Apache-2.0
#include "disk/error.hpp"

#include <cerrno>
#include <system_error>
#include <utility>

namespace croft::disk {

std::string_view to_string(ErrorCode code) {
    switch (code) {
    case ErrorCode::none:
        return "none";
    case ErrorCode::io:
        return "io";
    case ErrorCode::no_space:
        return "no_space";
    case ErrorCode::corrupt:
        return "corrupt";
    case ErrorCode::unsupported:
        return "unsupported";
    case ErrorCode::not_found:
        return "not_found";
    case ErrorCode::access:
        return "access";
    case ErrorCode::in_use:
        return "in_use";
    case ErrorCode::read_only:
        return "read_only";
    case ErrorCode::out_of_range:
        return "out_of_range";
    case ErrorCode::misaligned:
        return "misaligned";
    case ErrorCode::cancelled:
        return "cancelled";
    case ErrorCode::exists:
        return "exists";
    case ErrorCode::invalid_argument:
        return "invalid_argument";
    case ErrorCode::parent_mismatch:
        return "parent_mismatch";
    case ErrorCode::needs_replay:
        return "needs_replay";
    case ErrorCode::interrupted:
        return "interrupted";
    }
    return "unknown";
}

ErrorCode code_from_errno(int os_error) {
    switch (os_error) {
    case 0:
        return ErrorCode::none;
    case ENOSPC:
    case EDQUOT:
        return ErrorCode::no_space;
    case ENOENT:
        return ErrorCode::not_found;
    case EACCES:
    case EPERM:
        return ErrorCode::access;
    case EROFS:
        return ErrorCode::read_only;
    case EBUSY:
    case ETXTBSY:
        return ErrorCode::in_use;
    case EEXIST:
        return ErrorCode::exists;
    case ECANCELED:
        return ErrorCode::cancelled;
    default:
        return ErrorCode::io;
    }
}

std::string Error::text() const {
    std::string text = file.empty() ? std::string{} : file + ": ";
    if (offset)
        text += "at offset " + std::to_string(*offset) + ": ";
    text += what;
    if (os_error != 0)
        text += ": " + std::generic_category().message(os_error);
    return text;
}

Error Error::system(std::string_view file, std::string_view doing, int os_error) {
    return {
        code_from_errno(os_error), std::string{file}, std::nullopt, std::string{doing}, os_error};
}

Error Error::corrupt(std::string_view file, std::uint64_t offset, std::string what) {
    return {ErrorCode::corrupt, std::string{file}, offset, std::move(what), 0};
}

Error Error::of(ErrorCode code, std::string_view file, std::string what) {
    return {code, std::string{file}, std::nullopt, std::move(what), 0};
}

} // namespace croft::disk
