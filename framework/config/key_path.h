#pragma once

#include <optional>
#include <string>
#include <vector>

#include "casdm/value.h"

namespace casdm {

/// `key` appended to the key path `path`: "data" and "image_size" give "data.image_size". Quoted unless it is a bare
/// key of TOML.
std::string key_path(const std::string& path, const std::string& key);

struct KeyPart {
  std::string name;
  bool in_brackets = false;  ///< "[0]": an index, whatever the part before it
};

/// "metrics[0].weight" and "metrics.0.weight" as {metrics, 0, weight}; empty if malformed.
std::vector<KeyPart> split_key_path(const std::string& path);

/// Whether the key path `key` is `other` or below it: "train.batch_size" and "train[0]" are below "train".
bool is_at_or_below(const std::string& key, const std::string& other);

/// A part of a key path as an index into an array, if it is a whole number.
std::optional<std::size_t> index_of(const std::string& part);

/// The value at a key path below `root`; null if there is none.
const Value* find_path(const Value& root, const std::string& path);

/// Sets the location of `value`, and of everything inside it the same location with its own key path.
void set_locations(Value& value, const Location& location);

/// "file:line:column: key path: message", without the parts that are unknown.
std::string placed(const Location& location, const std::string& message);

/// Throws ConfigError with the text of `placed`.
[[noreturn]] void fail_at(const Location& location, const std::string& message);

}  // namespace casdm
