#pragma once

#include <string>

#include "casdm/value.h"

namespace casdm {

/// The TOML document `toml`, keys in the order they were written, every value with its place in
/// `file`. Throws ConfigError on syntax errors, dates, and nesting deeper than 64.
Value parse_toml(const std::string& toml, const std::string& file);

/// What stands right of `=` in TOML, without places. Throws ConfigError (the parser's words) when
/// it is none.
Value parse_toml_value(const std::string& toml);

/// Where the key of the value at `value` stands: the file is read again, since a Value keeps its
/// own place alone. `value` itself when it comes from no file or the file has changed.
Location key_location(const Location& value);

}  // namespace casdm
