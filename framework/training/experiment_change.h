#pragma once

#include <string>
#include <vector>

#include "casdm/value.h"

namespace casdm {

/// A key that two experiments give another value.
struct ExperimentChange {
  std::string key;  ///< "metrics[0].weight"
  Value before;     ///< null: not there
  Value after;
};

/// How the resolved experiment `after` differs from `before`, in the order of keys. What the host writes itself,
/// `plugins.used`, does not count.
std::vector<ExperimentChange> changes(const Value& before, const Value& after);

/// The same for people: where the type of a component changes, that alone, under the component's own key ("sampler",
/// tables of the type alone), and nothing of its options, which mean something else to the other one.
std::vector<ExperimentChange> by_component(const std::vector<ExperimentChange>& changes);

/// A value in few words: of a table with a type its type without the plugin, of another one its keys, of an array of
/// tables each of them.
std::string in_few_words(const Value& value);

/// "optimizer.learning_rate: 0.0001 -> 0.0005", in few words.
std::string to_string(const ExperimentChange& change);

/// Whether the key was not there because a later version has added it: it has its default, and chooses no component.
bool is_new_default(const ExperimentChange& change);

/// {key: {"from", "to"}}.
Value to_value(const std::vector<ExperimentChange>& changes);

}  // namespace casdm
