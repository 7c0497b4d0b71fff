#pragma once

#include <string>
#include <string_view>

#include "casdm/options.h"

/// A table may contain further tables with names chosen by the user, each with some of its keys for one thing:
/// [optimizer.phi] contains the differences from [optimizer] for the module phi.
namespace casdm {

/// The spec of such tables in `table`, with the same keys and component; all keys are optional.
/// @param name  a placeholder for the user's name, for texts: "MODULE"
OptionSpec named_tables(const OptionSpec& table, std::string name, std::string doc);

bool is_named_tables(const OptionSpec& spec);

/// The spec of tables with arbitrary names in `fields`; null if there is none.
const OptionSpec* find_named_tables(const OptionSchema& fields);

/// Is `value`, under `key`, a table with a name chosen by the user?
bool is_named_table(const OptionSchema& fields, std::string_view key, const Value& value);

}  // namespace casdm
