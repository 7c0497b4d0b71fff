#pragma once

#include <string>
#include <vector>

#include "casdm/value.h"
#include "framework/config/resolve.h"

namespace casdm {

/// A key whose value differs between two experiments.
struct ExperimentChange {
  std::string key;  ///< "metrics[0].weight"
  Value before;     ///< null: absent
  Value after;
};

/// How the resolved experiment `after` differs from `before`, in the order of keys. Ignores what the host itself
/// writes, `plugins.used`.
std::vector<ExperimentChange> changes(const Value& before, const Value& after);

/// The same for people: if the type of a component changes, only that is listed, under the component's own key
/// ("sampler", with tables that contain only the type), since its options mean something else in the other component.
std::vector<ExperimentChange> by_component(const std::vector<ExperimentChange>& changes);

/// A short form of a value: for a table with a type, the type without the plugin; for another table, its keys; for an
/// array of tables, each of them.
std::string in_few_words(const Value& value);

/// "optimizer.learning_rate: 0.0001 -> 0.0005", using in_few_words.
std::string to_string(const ExperimentChange& change);

/// Whether the key is new in a later version: it was absent, and now has its default.
/// @param experiment  the resolved one after the change
bool is_new_default(const ExperimentChange& change, const Value& experiment, const ComponentCatalog& catalog);

/// {key: {"from", "to"}}.
Value to_value(const std::vector<ExperimentChange>& changes);

}  // namespace casdm
