// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "disk/chain.hpp"
#include "disk/check.hpp"

#include <nlohmann/json.hpp>
#include <string>

namespace croft::cli {

// What `croft disk info` and `check` say, as JSON and for people. The JSON's names are an
// interface.
nlohmann::json json_of(const disk::Error& error);
nlohmann::json json_of(const disk::Finding& finding);
nlohmann::json json_of(const disk::CheckReport& report);
// One image of a chain, with the results of check() on it.
disk::Result<nlohmann::json> describe(disk::Image& image);

std::string text_of_check(const disk::CheckReport& report);
std::string text_of_images(const nlohmann::json& images);

// Why Azure would turn a disk away; empty when it wouldn't.
std::vector<std::string> azure_objections(disk::Image& image);

} // namespace croft::cli
