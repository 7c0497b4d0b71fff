#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "casdm/options.h"

namespace casdm {

/// One of [[evaluate.judges.metrics]]: a set metric on the features of a judge.
struct SetMetricOptions {
  ComponentConfig metric;
  std::string name;

  static void describe(Schema<SetMetricOptions>& s);
};

/// One of [[evaluate.judges]]: a feature extractor, one of its features, and what is computed from them.
struct JudgeOptions {
  ComponentConfig extractor;
  std::string name;
  std::string feature;
  std::vector<SetMetricOptions> metrics;

  static void describe(Schema<JudgeOptions>& s);
};

/// [evaluate]
struct EvaluateOptions {
  Count every_images = 0;
  Count num = 2000;
  std::filesystem::path reference;
  Count reference_num = 0;
  std::int64_t seed = 0;
  std::string keep_best;
  std::vector<JudgeOptions> judges;

  static void describe(Schema<EvaluateOptions>& s);
};

/// Adds the table [evaluate] to the keys of an experiment. Experiment does not contain it: evaluation reads it itself.
void declare_evaluate(OptionSchema& experiment);

/// [evaluate] of a resolved experiment; the defaults if there is none.
EvaluateOptions evaluate_options(const Value& experiment);

}  // namespace casdm
