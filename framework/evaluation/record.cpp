#include "framework/evaluation/record.h"

#include <ATen/ATen.h>
#include <torch/headeronly/version.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "casdm/build_info.h"
#include "casdm/text.h"
#include "framework/reporting/progress.h"
#include "framework/support/component_name.h"
#include "framework/support/exception_message.h"
#include "framework/support/files.h"
#include "framework/support/json_member.h"
#include "framework/support/sealed_json.h"
#include "framework/support/text_table.h"
#include "framework/support/value_table.h"

namespace casdm {

namespace {

constexpr std::int64_t kPublished = 50000;   // images of a published score of this form
constexpr std::int64_t kLeastNumbers = 256;  // of a tensor that identifies a network

/// SHA-256 of the larger tensors of a network that were learned. One number, or one filter for every channel, was not,
/// and is in networks that share nothing else.
std::set<std::string> digests(const Module& module) {
  std::set<std::string> result;
  for (const auto& [name, tensor] : state(module)) {
    if (tensor.numel() < kLeastNumbers) continue;
    const Tensor values = tensor.detach().cpu().to(at::kFloat).contiguous();
    if (values.eq(values.flatten()[0]).all().item<bool>()) continue;
    if (values.size(0) > 1 && values.eq(values[0]).all().item<bool>()) continue;
    result.insert(sha256({static_cast<const char*>(values.data_ptr()), values.nbytes()}));
  }
  return result;
}

Value null_or(std::int64_t count) { return count == 0 ? Value() : Value(count); }

std::string cell(const Value& score) {
  const Value& error = json_member(score, "standard_error");
  const auto shown = [](const Value& value) {
    return value.is_number() ? significant(value.as_number()) : to_json(value);
  };
  return text(shown(json_member(score, "value")), error.is_null() ? "" : " +- " + shown(error));
}

std::string direction(const Value& score) {
  return json_member(score, "lower_is_better").as_boolean() ? "lower is better" : "higher is better";
}

/// Extractor, feature and resize of a score, and whether the run was trained with it.
std::string judge_of(const Value& score) {
  const Value& extractor = json_member(score, "extractor");
  const std::string& type = json_member(extractor, "type").as_string();
  const std::string name = component_name(type);
  const std::string& feature = json_member(extractor, "feature").as_string();
  const std::string& resize = json_member(extractor, "resize").as_string();
  const std::int64_t size = json_member(extractor, "input_size").as_integer();
  return text(name, feature == name ? "" : " " + feature, ", ", resize == "none" ? "no resize" : resize,
              resize != "none" && size > 0 ? text(" to ", size) : "",
              json_member(score, "trained_with").as_array().empty() ? "" : "; judged by a network it was trained with");
}

std::string count_of(const Value& count) { return count.is_null() ? "?" : grouped(count.as_integer()); }

/// What distinguishes a record from others of the same run.
std::string row_name(const Value& record) {
  if (json_member(record, "what").as_string() == "floor") {
    return text("real images (the floor): ", json_member(record, "name").as_string());
  }
  const Value* run = record.find("run");
  if (run == nullptr || run->is_null()) return json_member(record, "name").as_string();
  return text(json_member(record, "name").as_string(), ": ",
              json_member(json_member(*run, "weights"), "name").as_string(), ", ",
              json_member(*run, "steps").as_integer(), " steps, guidance ",
              significant(json_member(json_member(*run, "guidance"), "scale").as_number()));
}

std::string one(const Value& record) {
  std::vector<std::vector<std::string>> rows = {{"score", "value", "", "N", "reference", "judged by"}};
  for (const Value& score : json_member(record, "scores").as_array()) {
    rows.push_back({json_member(score, "name").as_string(), cell(score), direction(score),
                    count_of(json_member(score, "num")), count_of(json_member(score, "reference_num")),
                    judge_of(score)});
  }
  return text_table(rows);
}

std::string several(const std::vector<Value>& records) {
  std::vector<std::vector<std::string>> rows = {{""}};
  std::vector<std::vector<std::string>> legend = {{"score", "", "reference", "judged by"}};
  const Value::Array& first = json_member(records.front(), "scores").as_array();
  for (const Value& score : first) {
    rows[0].push_back(json_member(score, "name").as_string());
    legend.push_back({json_member(score, "name").as_string(), direction(score),
                      count_of(json_member(score, "reference_num")), judge_of(score)});
  }
  rows[0].emplace_back("N");
  for (const Value& record : records) {
    rows.push_back({row_name(record)});
    for (const Value& score : json_member(record, "scores").as_array()) rows.back().push_back(cell(score));
    rows.back().push_back(count_of(json_member(record, "num")));
  }
  return text_table(rows) + "\n" + text_table(legend);
}

}  // namespace

std::string grouped(std::int64_t count) {
  const std::string digits = std::to_string(count);
  std::string result;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) result += ',';
    result += digits[i];
  }
  return result;
}

TrainedWith shared_networks(const Judges& judges, const std::vector<TrainingMetric>& metrics) {
  TrainedWith result(judges.judges().size());
  for (const TrainingMetric& metric : metrics) {
    const std::set<std::string> trained = digests(*metric.module);
    if (trained.empty()) continue;
    for (std::size_t i = 0; i < result.size(); ++i) {
      const std::set<std::string> judging = digests(judges.network(judges.judges()[i]));
      const bool is_shared = std::any_of(judging.begin(), judging.end(),
                                         [&](const std::string& digest) { return trained.contains(digest); });
      if (is_shared) result[i].push_back(metric.term);
    }
  }
  return result;
}

std::vector<std::pair<std::string, Component<MetricLoss>>> training_metrics(const LoadedExperiment& experiment,
                                                                            const std::vector<EarlierMetrics>& earlier,
                                                                            std::vector<std::string>& remarks) {
  std::vector<std::pair<std::string, Component<MetricLoss>>> result;
  const DataOptions& data = experiment.options.data;
  std::vector<Value> known;
  const auto add = [&](const std::vector<MetricOptions>& metrics, const std::string& when) {
    for (const MetricOptions& options : metrics) {
      if (options.weight == 0) continue;
      if (std::find(known.begin(), known.end(), Value(options.metric.table)) != known.end()) continue;
      known.emplace_back(options.metric.table);
      const std::string& type = options.metric.type;
      const std::string term = text("metric.", options.name.empty() ? component_name(type) : options.name, when);
      try {
        MetricLoss::Spec spec;
        spec.image = ImageShape::square(data.channels, options.resize > 0 ? options.resize : data.image_size);
        spec.factory = experiment.host.get();
        result.emplace_back(term, experiment.host->create<MetricLoss>(options.metric, spec));
      } catch (const Error& error) {
        remarks.push_back(
            text(term, ": could not check whether a judge is a network that the run was trained with: ", error.what()));
      }
    }
  };
  add(experiment.options.metrics, "");
  for (const EarlierMetrics& before : earlier) {
    Value document = experiment.resolved;
    document.set("metrics", before.metrics);
    try {
      add(read_options<Experiment>(document).metrics, " " + before.when);
    } catch (const Error& error) {
      remarks.push_back(text("the metrics ", before.when, " cannot be read: ", error.what()));
    }
  }
  return result;
}

std::vector<std::string> warnings_of(const JudgedSet& set, const Reference& reference, const Judges& judges,
                                     const TrainedWith& trained_with, const std::vector<JudgedScore>& scores) {
  std::vector<std::string> warnings;
  for (const JudgedScore& score : scores) {
    if (std::isfinite(score.value) && std::isfinite(score.standard_error.value_or(0))) continue;
    warnings.push_back(text(score.name, ": ", score.value,
                            " is not a valid score: the options of the metric do not suit these features"));
  }
  const std::int64_t num = set.state.images;
  std::set<std::size_t> judged;
  for (std::size_t i = 0; i < judges.metrics().size(); ++i) {
    const JudgeMetric& metric = judges.metrics()[i];
    if (metric.of_moments() == nullptr) continue;
    const std::string& name = metric.score_names.front();
    const Judge& judge = judges.judges()[metric.judge];
    const std::int64_t features = judge.feature.dimension;
    const std::int64_t known = reference.images_of(i);
    const std::int64_t least = known > 0 ? std::min(num, known) : num;
    if (least <= features) {
      warnings.push_back(
          text(name, ": ", grouped(least), least == num ? " images" : " images of the reference",
               " are no more than the ", grouped(features),
               " features, so their covariance is singular "
               "and the score depends mostly on the number of images: compare it only at the same number"));
    } else if (num < kPublished) {
      warnings.push_back(text(name, ": from ", grouped(num), " images; published scores are of ", grouped(kPublished),
                              ", and fewer images give a higher one: not comparable with them"));
    }
  }
  for (std::size_t i = 0; i < trained_with.size(); ++i) {
    if (trained_with[i].empty()) continue;
    warnings.push_back(text(judges.judges()[i].name, ": judged by a network it was trained with (",
                            join(trained_with[i], ", "), "): such a score can improve while the images do not"));
  }
  if (num > 1 && set.are_all_equal) {
    warnings.push_back(text("all ", grouped(num), " images are the same"));
  } else if (set.of_one_colour > 0) {
    warnings.push_back(text(grouped(set.of_one_colour), " of ", grouped(num), " images are a single colour"));
  }
  warnings.insert(warnings.end(), reference.remarks.begin(), reference.remarks.end());
  return warnings;
}

Value record_of(const Evaluation& evaluation, const JudgedSet& set, const Reference& reference, const Judges& judges,
                const TrainedWith& trained_with, const std::vector<std::string>& remarks, const PluginHost& host) {
  Value plugins{Value::Table{}};
  for (const UsedPlugin& plugin : host.used()) plugins.set(plugin.id, text(plugin.version, ' ', plugin.build_id));
  Value::Array scores;
  const std::vector<JudgedScore> judged = judges.compare(set.state, reference.state);
  for (const JudgedScore& score : judged) {
    const JudgeMetric& metric = judges.metrics()[score.metric];
    Value::Array shared;
    if (metric.judge < trained_with.size())
      shared.assign(trained_with[metric.judge].begin(), trained_with[metric.judge].end());
    scores.push_back(
        table({{"name", score.name},
               {"value", score.value},
               {"standard_error", score.standard_error ? Value(*score.standard_error) : Value()},
               {"lower_is_better", score.is_lower_better},
               {"num", set.state.images},
               {"reference_num", metric.info.needs_reference ? null_or(reference.images_of(score.metric)) : Value()},
               {"judge", judges.judges()[metric.judge].name},
               {"metric", *metric.identity.find("type")},
               {"metric_options", *metric.identity.find("options")},
               {"extractor", judges.judges()[metric.judge].extractor},
               {"trained_with", shared}}));
  }
  Value::Array warnings;
  for (const std::string& warning : warnings_of(set, reference, judges, trained_with, judged))
    warnings.emplace_back(warning);
  for (const std::string& remark : remarks) warnings.emplace_back(remark);
  Value record = table({{"format", 1},
                        {"program", "casdm " CASDM_SDK_VERSION},
                        {"libtorch", TORCH_VERSION},
                        {"plugins", plugins},
                        {"what", evaluation.what},
                        {"name", evaluation.name},
                        {"num", set.state.images}});
  if (evaluation.run) record.set("run", *evaluation.run);
  record.set("reference", table({{"name", reference.name},
                                 {"kind", reference.kind},
                                 {"num", null_or(reference.images)},
                                 {"sha256", reference.sha256}}));
  record.set("image", table({{"channels", judges.image().channels}, {"size", judges.image().height}}));
  record.set("scores", scores);
  record.set("warnings", warnings);
  return sealed(std::move(record));
}

std::string table_of(const std::vector<Value>& records) {
  std::string result = records.size() == 1 ? one(records.front()) : several(records);
  std::vector<std::string> said;
  for (const Value& record : records) {
    for (const Value& warning : json_member(record, "warnings").as_array()) {
      const std::string& message = warning.as_string();
      if (std::find(said.begin(), said.end(), message) == said.end()) said.push_back(message);
    }
  }
  if (!said.empty()) result += "\n";
  for (const std::string& warning : said) result += text("warning: ", printable(warning), "\n");
  return result;
}

}  // namespace casdm
