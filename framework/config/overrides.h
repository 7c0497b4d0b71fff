#pragma once

#include <string>
#include <vector>

#include "casdm/value.h"

namespace casdm {

/// Sets the keys of `overrides` ("train.batch_size=8") in `document`, as described in document.h. Their location is
/// "--set " followed by the override. If two set the same key, the later one wins, which is reported on stderr. Throws
/// ConfigError if one is malformed.
void apply_overrides(Value& document, const std::vector<std::string>& overrides);

/// The same for `lines`, strings in a file: messages give their location, and relative paths in them are relative to
/// that file.
void apply_override_lines(Value& document, const std::vector<Value>& lines);

/// For an option of a command that is short for a key: throws ConfigError if `overrides` also set the key, a part of it
/// or a table that contains it.
/// @param option  as it was given: "--steps 10"
void refuse_set_twice(const std::string& option, const std::string& key, const std::vector<std::string>& overrides);

/// The location of an override of the command line.
Location override_location(const std::string& override);

/// Whether `override` ("key=value") gives `key` or a part of it a value, itself or in a table. Throws ConfigError,
/// located at `place`, if it is malformed.
bool sets(const std::string& override, const std::string& key, const Location& place);

}  // namespace casdm
