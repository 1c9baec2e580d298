// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace croft {

/// The root of every exception of the project's host side. Its text is one line, ready for the
/// user: what was found, what was expected, what to do. A program that ends because of one prints
/// that line and exits with status 1.
class Error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

namespace hv {

/// A request that the hypervisor or its device file refused.
class HypervisorError : public Error {
public:
    /// `text` says what was asked; `system_error` is the errno value, `status` the HV_STATUS_ code
    /// of the hypercall behind it, 0 where there was none.
    HypervisorError(const std::string& text, int system_error, std::uint16_t status = 0)
        : Error(text),
          system_error_(system_error),
          status_(status) {}

    [[nodiscard]] int system_error() const { return system_error_; }
    [[nodiscard]] std::uint16_t status() const { return status_; }

private:
    int system_error_;
    std::uint16_t status_;
};

} // namespace hv
} // namespace croft
