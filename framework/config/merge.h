#pragma once

#include <string_view>

#include "casdm/options.h"
#include "casdm/value.h"

/// The merging rule stated in document.h.
namespace casdm {

/// The keys that the host declares at the root of an experiment.
const OptionSchema& host_schema();

/// The keys that the host declares in the table (or in each table of the array) `key` of a table whose keys are
/// `schema`; null if it declares none.
const OptionSchema* host_fields(const OptionSchema* schema, std::string_view key);

/// To be called before `type` is set in `table`: removes the keys of its old component if `type` is another.
/// @param host  the host's keys of `table`, which stay; null: none
void drop_old_component(Value& table, const Value& type, const OptionSchema* host);

/// Merges the table `over` into the table `base`.
void merge(Value& base, const Value& over, const OptionSchema* host);

}  // namespace casdm
