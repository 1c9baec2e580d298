// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/error.hpp"

namespace croft::worker {

/// Settings that can't be understood or can't be had.
class SettingsError : public Error {
public:
    using Error::Error;
};

/// A file to boot from that isn't what it should be, or doesn't fit.
class LoadError : public Error {
public:
    using Error::Error;
};

/// The system around the worker refused something: a file, a socket, memory.
class SystemError : public Error {
public:
    using Error::Error;
};

/// The guest did something after which it can't go on.
class GuestError : public Error {
public:
    using Error::Error;
};

} // namespace croft::worker
