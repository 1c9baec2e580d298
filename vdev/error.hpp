// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "hv/error.hpp"

namespace croft::vdev {

/// A device that can't be configured as asked: a resource that is taken or out of range, or a call
/// that the device's state doesn't allow.
class DeviceError : public Error {
public:
    using Error::Error;
};

/// A saved state that can't be read: damaged, of another device, of a version that isn't known, or
/// with values that the device can't have.
class RecordError : public Error {
public:
    using Error::Error;
};

} // namespace croft::vdev
