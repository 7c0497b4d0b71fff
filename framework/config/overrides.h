#pragma once

#include <string>
#include <vector>

#include "casdm/value.h"

namespace casdm {

/// Sets the keys of `overrides` ("train.batch_size=8") in `document`, as document.h describes them.
/// Their location is "--set " and the override. Of two that set the same key the later one holds, which is said on
/// stderr. Throws ConfigError when one is malformed.
void apply_overrides(Value& document, const std::vector<std::string>& overrides);

/// The same for `lines`, strings that stand in a file: messages name their place, and relative paths in them are
/// relative to that file.
void apply_override_lines(Value& document, const std::vector<Value>& lines);

/// For an option of a command that stands for a key: throws ConfigError when `overrides` set the key, too, a part of it
/// or a table around it.
/// @param option  as it was given: "--steps 10"
void refuse_set_twice(const std::string& option, const std::string& key, const std::vector<std::string>& overrides);

}  // namespace casdm
