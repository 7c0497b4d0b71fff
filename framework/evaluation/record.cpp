#include "framework/evaluation/record.h"

#include <ATen/ATen.h>
#include <torch/headeronly/version.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "casdm/build_info.h"
#include "casdm/text.h"
#include "framework/support/component_name.h"
#include "framework/support/exception_message.h"
#include "framework/support/files.h"
#include "framework/support/json_member.h"
#include "framework/support/number_format.h"
#include "framework/support/sealed_json.h"
#include "framework/support/text_table.h"
#include "framework/support/value_table.h"

namespace casdm {

namespace {

constexpr std::int64_t kPublished = 50000;  // number of images in published scores of this form

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

/// Extractor, feature and resize of a score, and whether the run was trained with that extractor.
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

bool is_floor(const Value& record) { return json_member(record, "what").as_string() == "floor"; }

/// What distinguishes a record from others of the same run.
std::string row_name(const Value& record) {
  if (is_floor(record)) {
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

/// How many images the records were compared with in the score at `index`; for a floor, these may be fewer.
std::string references_of(const std::vector<Value>& records, std::size_t index) {
  const auto reference = [&](const Value& record) {
    return count_of(json_member(json_member(record, "scores").as_array().at(index), "reference_num"));
  };
  std::string result = reference(records.front());
  for (const Value& record : records) {
    if (is_floor(record) && reference(record) != result) return text(result, ", floor ", reference(record));
  }
  return result;
}

std::string several(const std::vector<Value>& records) {
  std::vector<std::vector<std::string>> rows = {{""}};
  std::vector<std::vector<std::string>> legend = {{"score", "", "reference", "judged by"}};
  const Value::Array& first = json_member(records.front(), "scores").as_array();
  for (std::size_t i = 0; i < first.size(); ++i) {
    rows[0].push_back(json_member(first[i], "name").as_string());
    legend.push_back({rows[0].back(), direction(first[i]), references_of(records, i), judge_of(first[i])});
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

std::vector<std::string> warnings_of(const JudgedSet& set, const Reference& reference, const Judges& judges,
                                     const TrainedWith& trained_with, const std::vector<JudgedScore>& scores) {
  std::vector<std::string> warnings;
  for (const JudgedScore& score : scores) {
    if (std::isfinite(score.value) && std::isfinite(score.standard_error.value_or(0))) continue;
    const bool is_value = !std::isfinite(score.value);
    warnings.push_back(text(score.name, ": ", is_value ? score.value : *score.standard_error, " is not a valid ",
                            is_value ? "score" : "standard error",
                            ": the options of the metric do not suit these features"));
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
  Value compared_with = table({{"name", reference.name},
                               {"kind", reference.kind},
                               {"num", null_or(reference.images)},
                               {"sha256", reference.sha256}});
  if (reference.identified_by > 0) compared_with.set("identified_by", reference.identified_by);
  record.set("reference", compared_with);
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
