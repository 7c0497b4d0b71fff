#pragma once

#include <optional>
#include <string>
#include <vector>

#include "casdm/value.h"

namespace casdm {

/// `key` added to the key path `path`: "head.theta" and "channels" make "head.theta.channels".
/// Quoted when it is no bare key of TOML.
std::string key_path(const std::string& path, const std::string& key);

/// "metrics[0].weight" and "metrics.0.weight" as {metrics, 0, weight}; empty when malformed.
std::vector<std::string> split_key_path(const std::string& path);

/// A part of a key path as an index into an array, if it is a whole number.
std::optional<std::size_t> index_of(const std::string& part);

/// "file:line:column: key path: message", as much of it as is known.
std::string placed(const Location& location, const std::string& message);

/// Throws ConfigError of `placed`.
[[noreturn]] void fail_at(const Location& location, const std::string& message);

}  // namespace casdm
