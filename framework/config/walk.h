#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "framework/config/resolve.h"

namespace casdm {

/// A table of an experiment with some of the options that it has: those of the host, or those of its component.
struct VisitedTable {
  const Value& table;
  const OptionSchema& options;
  const Location& location;
  const std::string& key;                ///< of the table, as ExperimentChange has it
  const Value* outer;                    ///< gives the options that a table under a user's name leaves out; null: none
  std::vector<const Value*> inheriting;  ///< tables under a user's name in it, which take these options from it
};

/// What is called for the parts of an experiment; empty ones are not.
struct Visitors {
  /// Each value that is neither a table nor an array.
  std::function<void(const Value&, const OptionSpec&, const Location&)> value;
  std::function<void(const VisitedTable&)> table;
  /// Each table that chooses a component, with its key.
  std::function<void(const Value&, std::string_view kind, const std::string& key)> component;
};

/// Goes through a resolved experiment, or the part of one that `schema` has, to the bottom. Throws ConfigError when the
/// catalog lacks a component, unless it was kept (Missing).
void walk(const Value& experiment, const OptionSchema& schema, const ComponentCatalog& catalog,
          const Visitors& visitors, Missing missing = Missing::refused);

/// Where `value` stands under `key` of a table at `table`; a default stands where its table does.
Location place_in(Location table, const Value& value, const std::string& key);

}  // namespace casdm
