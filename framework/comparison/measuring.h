#pragma once

#include <map>
#include <string>
#include <vector>

#include "casdm/value.h"

/// How scores were measured: two of one name are of one measure when all that decides them, but the model, is equal.
namespace casdm {

struct RunRecord;

/// Settings in words, by their keys: {"num", "2000"}, {"sampler.eta", "0"}.
using Settings = std::map<std::string, std::string>;

struct Measuring {
  Settings settings;
  /// What the run's own experiment says of the settings that belong to a model (its sampler, say). Where all scores of
  /// a setting follow their experiments, it is a difference between the models and not between the measures.
  Settings own = {};
  bool is_logged = false;  ///< by [evaluate], while training

  bool is_own(const std::string& key) const;
  const std::string& of(const std::string& key) const;  ///< empty: the score has no such setting
};

/// Of a score in `record`, as `casdm evaluate` has written them.
/// @param experiment  of the run
Measuring measuring_of(const Value& record, const Value& score, const Value& experiment);

/// Of the score `name` in the member `evaluation` of a line of the log.
Measuring measuring_of_logged(const Value& evaluation, const std::string& name, const Value& experiment);

/// Names the scores of `runs`: those of one measure alike, and of those that were measured otherwise each with the
/// settings in which they differ: "eye.distance num=2000 sampler.eta=1".
void tell_apart(const std::vector<RunRecord*>& runs);

}  // namespace casdm
