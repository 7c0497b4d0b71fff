#pragma once

#include <memory>
#include <string>

#include "casdm/value.h"
#include "framework/config/limits.h"

namespace casdm {

/// Parses the TOML document `toml`, keeping the order of keys; every value has its location in `file`. Throws
/// ConfigError for syntax errors, dates, and beyond the limits of limits.h.
Value parse_toml(const std::string& toml, const std::string& file);

/// The same for one of the files of an experiment, which share a budget.
Value parse_toml(const std::string& toml, const std::string& file, ReadingBudget& budget);

/// What stands to the right of `=` in TOML, without locations. Throws ConfigError with the parser's message if it is
/// not exactly one value.
Value parse_toml_value(const std::string& toml);

/// Finds the location of keys by reading the files again, since a Value stores only its own location. Each file is read
/// once.
class KeyFinder {
 public:
  KeyFinder();
  ~KeyFinder();

  /// Where the key of the value at `value` is; `value` itself if it does not come from a file or the file has changed.
  Location location(const Location& value);

 private:
  struct Files;
  std::unique_ptr<Files> files_;
};

}  // namespace casdm
