#pragma once

#include <map>
#include <string>
#include <vector>

#include "casdm/value.h"
#include "framework/config/experiment.h"

/// How scores were measured. Two scores of the same name are the same measure if everything that decides them, apart
/// from the model, is equal.
namespace casdm {

struct RunRecord;

/// Settings as text, by key: {"num", "2000"}, {"sampler.eta", "0"}.
using Settings = std::map<std::string, std::string>;

struct Measuring {
  Settings settings;
  /// The settings that the run's own experiment gives and that belong to a model, such as its sampler. If all scores
  /// follow their own experiments in such a setting, a difference there is one between the models, not between the
  /// measures.
  Settings own = {};
  bool is_logged = false;                ///< by [evaluate], during training
  std::vector<UsedPlugin> plugins = {};  ///< of the judge and the metric

  bool is_own(const std::string& key) const;
  const std::string& of(const std::string& key) const;  ///< empty: the score has no such setting
};

/// Of a score in `record`, as written by `casdm evaluate`.
/// @param experiment  of the run
Measuring measuring_of(const Value& record, const Value& score, const Value& experiment);

/// Of the score `name` in the member `evaluation` of a log line.
Measuring measuring_of_logged(const Value& evaluation, const std::string& name, const Value& experiment);

/// Adds to the measuring of `name`, a loss or statistic of the log ("loss.metric.NAME.by_t.1"), what of `experiment`
/// decides its value apart from the model: the images, what is drawn for them, the head that defines the terms and, for
/// the loss of a metric, the metric. Keys that change nothing but how strongly a metric trains do not count.
void add_settings_of_mean(Measuring& measuring, const std::string& name, const Value& experiment);

/// Renames the scores of `runs`: the same name for those of one measure, and for those measured differently a name that
/// lists the settings in which they differ: "eye.distance num=2000 sampler.eta=1".
void tell_apart(const std::vector<RunRecord*>& runs);

}  // namespace casdm
