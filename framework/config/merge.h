#pragma once

#include <string_view>

#include "casdm/options.h"
#include "casdm/value.h"

/// The merging rule that document.h states.
namespace casdm {

/// The keys that the host declares in an experiment's root.
const OptionSchema& host_schema();

/// The keys that the host declares in the table (or each table of the array) `key` of a table whose
/// keys are `schema`; null when it declares none.
const OptionSchema* host_fields(const OptionSchema* schema, std::string_view key);

/// Before `type` is set in `table`: drops the keys of its old component if it is another.
/// @param host  the keys of `table` that are the host's and stay; null: none
void drop_old_component(Value& table, const Value& type, const OptionSchema* host);

/// Merges the table `over` into the table `base`.
void merge(Value& base, const Value& over, const OptionSchema* host);

}  // namespace casdm
