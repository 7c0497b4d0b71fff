#pragma once

#include <string>
#include <string_view>

#include "casdm/options.h"

/// A table may hold further tables under names that the user chooses, each with some of its own keys for one thing:
/// [optimizer.phi] holds what is different in [optimizer] for the module phi.
namespace casdm {

/// The spec of such tables in `table`, with the same keys and component; all of them may be left out.
/// @param name  what the user's name stands for, in texts: "MODULE"
OptionSpec named_tables(const OptionSpec& table, std::string name, std::string doc);

/// Is it the spec of tables under any name?
bool is_named_tables(const OptionSpec& spec);

/// The spec of tables under any name in `fields`; null when there are none.
const OptionSpec* find_named_tables(const OptionSchema& fields);

/// Does `value`, under `key`, stand under a name that the user chose?
bool is_named_table(const OptionSchema& fields, std::string_view key, const Value& value);

}  // namespace casdm
