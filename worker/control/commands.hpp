// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace croft::worker {

/// Does a request and answers what is to be told of it, an object.
using Command = std::function<nlohmann::json(const nlohmann::json& request)>;

/// Those of a control socket by the names under which they are asked for ("command").
using Commands = std::map<std::string, Command>;

} // namespace croft::worker
