#include "framework/evaluation/reference.h"

#include <algorithm>
#include <iostream>
#include <map>
#include <set>

#include "casdm/atomic_file.h"
#include "casdm/build_info.h"
#include "casdm/text.h"
#include "framework/evaluation/reference_cache.h"
#include "framework/evaluation/reference_writer.h"
#include "framework/evaluation/statistics.h"
#include "framework/evaluation/telling_options.h"
#include "framework/support/checked_tensors.h"
#include "framework/support/component_name.h"
#include "framework/support/files.h"
#include "framework/support/json_member.h"
#include "framework/support/value_table.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

/// What must agree between two extractors for their features to be comparable, whatever built them and wherever their
/// weights are.
Value essence(const Value& extractor) {
  Value result{Value::Table{}};
  result.set("extractor", component_name(json_member(extractor, "type").as_string()));
  for (const char* key : {"feature", "dimension", "spatial", "input_size", "resize", "quantised", "weights_sha256"}) {
    result.set(key, json_member(extractor, key));
  }
  result.set("options", telling_options(extractor));
  return result;
}

Value essence_of_metric(const Value& metric) {
  return table(
      {{"type", component_name(json_member(metric, "type").as_string())}, {"options", json_member(metric, "options")}});
}

std::string differences(const Value& there, const Value& here) {
  std::vector<std::string> lines;
  for (const auto& [key, value] : here.as_table()) {
    const Value* other = there.find(key);
    if (other == nullptr || *other == value) continue;
    lines.push_back(text(key, " ", to_json(*other), " there, ", to_json(value), " here"));
  }
  return join(lines, "; ");
}

NamedTensors state_in(const TensorFile& file, std::size_t index, const JudgeMetric& metric) {
  NamedTensors state = metric.metric.call(&SetMetric::start);
  for (auto& [name, tensor] : state) tensor = file.at(text(index, '/', name));
  return state;
}

/// The state of `metric` in a file that this program wrote. Throws ConfigError if there is none.
NamedTensors find_state(const TensorFile& file, const Value& record, const Judges& judges, const JudgeMetric& metric,
                        const fs::path& path) {
  const Judge& judge = judges.judges()[metric.judge];
  const Value extractor = from_json(to_json(essence(judge.extractor)));
  const Value wanted = from_json(to_json(essence_of_metric(metric.identity)));
  std::vector<std::string> there;
  std::string why;
  const Value::Array& entries = json_member(record, "metrics").as_array();
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const Value other = essence(json_member(entries[i], "extractor"));
    const Value other_metric = essence_of_metric(json_member(entries[i], "metric"));
    if (other == extractor && other_metric == wanted) return state_in(file, i, metric);
    there.push_back(text(other.find("extractor")->as_string(), ' ', other.find("feature")->as_string(), " for ",
                         other_metric.find("type")->as_string()));
    if (other.find("extractor")->as_string() != extractor.find("extractor")->as_string()) continue;
    if (const std::string differs = differences(other, extractor); !differs.empty()) {
      why = differs;
    } else if (other_metric.find("type")->as_string() == wanted.find("type")->as_string()) {
      why = differences(other_metric, wanted);
    }
  }
  throw ConfigError(text("--reference ", path.string(), ": it holds nothing for ", metric.score_names.front(), " (",
                         extractor.find("extractor")->as_string(), ' ', extractor.find("feature")->as_string(),
                         "); it holds ", join(there, ", "), why.empty() ? "" : text(". What differs: ", why),
                         ". Take the judges it was written with, or write it again with --write-reference"));
}

/// @param is_complete  take the states of metrics that need no reference, too: they judge the reference itself as a
/// floor
Reference read_states(const fs::path& path, const Judges& judges, bool is_complete) {
  const TensorFile file = read_checked_tensors(path);
  const auto found = file.metadata.find(kReferenceNote);
  if (found == file.metadata.end() || !file.metadata.contains("sha256")) {
    throw ConfigError(text("--reference ", path.string(), ": it is not a reference that casdm has written"));
  }
  try {
    const Value record = from_json(found->second);
    if (json_member(record, "format").as_integer() != kReferenceFormat)
      throw Error("another version of casdm has written it; write it again with --write-reference");
    const ImageShape shape = ImageShape::square(json_member(json_member(record, "image"), "channels").as_integer(),
                                                json_member(json_member(record, "image"), "size").as_integer());
    if (!(shape == judges.image())) {
      throw ConfigError(text("--reference ", path.string(), ": it was made from images of ", shape.height, " px with ",
                             shape.channels, " channels; these have ", judges.image().height, " px and ",
                             judges.image().channels));
    }
    Reference reference;
    reference.name = json_member(record, "name").as_string();
    reference.images = json_member(record, "images").as_integer();
    reference.sha256 = json_member(record, "sha256").as_string();
    for (const JudgeMetric& metric : judges.metrics()) {
      const bool is_needed = metric.info.needs_reference || is_complete;
      reference.state.metrics.push_back(is_needed ? find_state(file, record, judges, metric, path) : NamedTensors{});
    }
    reference.state.images = reference.images;
    return reference;
  } catch (const ConfigError&) {
    throw;
  } catch (const Error& error) {
    throw Error(text(path.string(), " cannot be used as a reference: ", error.what()));
  }
}

/// Which metrics can use the moments in a file, and which of them: an index into `statistics.moments`, or -1. A file of
/// this program names the extractor; in others the number of features must leave no doubt.
std::vector<std::ptrdiff_t> served_by(const Statistics& statistics, const Judges& judges, const fs::path& path) {
  std::vector<std::ptrdiff_t> result;
  const Value* named = statistics.record.find(kStatisticsOf);
  std::map<std::ptrdiff_t, std::pair<std::string, Value>> taken;
  for (const JudgeMetric& metric : judges.metrics()) {
    result.push_back(-1);
    if (metric.of_moments() == nullptr) continue;
    const Judge& judge = judges.judges()[metric.judge];
    const Value extractor = from_json(to_json(essence(judge.extractor)));
    std::vector<std::string> fitting;
    for (std::size_t i = 0; i < statistics.moments.size(); ++i) {
      const auto& [name, moments] = statistics.moments[i];
      const Value* whose = named == nullptr ? nullptr : named->find(name);
      if (moments.mean.size(0) != judge.feature.dimension) continue;
      if (named != nullptr && (whose == nullptr || essence(*whose) != extractor)) continue;
      fitting.push_back(name);
      result.back() = static_cast<std::ptrdiff_t>(i);
    }
    const auto refuse = [&](const std::string& why) {
      throw ConfigError(text("--reference ", path.string(), ": ", why, ", all of ", judge.feature.dimension,
                             " features, and the file does not say which network its statistics are of. ",
                             judges.judges().size() > 1
                                 ? "Choose one judge by --config, or give images as the reference"
                                 : "Give images as the reference, or a file with one of them"));
    };
    if (named == nullptr && fitting.size() > 1)
      refuse(text(judge.name, " might be compared with ", join(fitting, " or ")));
    if (named != nullptr || fitting.empty()) continue;
    const auto [other, is_first] = taken.try_emplace(result.back(), judge.name, extractor);
    if (!is_first && other->second.second != extractor) {
      refuse(text(fitting.front(), " might be of ", other->second.first, " or of ", judge.name));
    }
  }
  return result;
}

std::string what_it_holds(const Statistics& statistics) {
  std::vector<std::string> parts;
  for (const auto& [name, moments] : statistics.moments)
    parts.push_back(text(name, " of ", moments.mean.size(0), " features"));
  return join(parts, ", ");
}

void remark_on_conventions(Reference& reference, const Judges& judges, const std::vector<std::ptrdiff_t>& served,
                           bool is_named) {
  std::vector<std::string> names, other_resize;
  for (std::size_t i = 0; i < served.size(); ++i) {
    if (served[i] < 0) continue;
    const Judge& judge = judges.judges()[judges.metrics()[i].judge];
    names.push_back(judges.metrics()[i].score_names.front());
    const ExtractorResize resize = judge.info.resize;
    if (resize != ExtractorResize::tf1_bilinear && resize != ExtractorResize::none) other_resize.push_back(judge.name);
  }
  if (names.empty() || is_named) return;
  reference.remarks.push_back(text(join(names, ", "),
                                   ": the reference file does not say which network its statistics are "
                                   "of; they are taken for this judge's because they have as many features"));
  if (other_resize.empty()) return;
  reference.remarks.push_back(text(join(other_resize, ", "),
                                   ": the programs that write such files resize as TensorFlow 1 "
                                   "does (tf1_bilinear), this judge otherwise: not comparable with their scores"));
}

Reference read_foreign(const fs::path& path, const Judges& judges, const ReferenceOptions& options) {
  const Statistics statistics = read_statistics(path);
  const std::vector<std::ptrdiff_t> served = served_by(statistics, judges, path);
  Reference reference;
  reference.name = path.string();
  reference.kind = "statistics";
  std::vector<bool> wanted;
  std::vector<std::string> left_out;
  bool is_any = false;
  for (std::size_t i = 0; i < served.size(); ++i) {
    const JudgeMetric& metric = judges.metrics()[i];
    wanted.push_back(served[i] < 0 && metric.info.needs_reference && statistics.has_images);
    is_any = is_any || served[i] >= 0 || wanted.back();
    if (served[i] < 0 && metric.info.needs_reference && !wanted.back()) left_out.push_back(metric.score_names.front());
  }
  if (!is_any) {
    std::vector<std::string> needed;
    for (const Judge& judge : judges.judges()) needed.push_back(text(judge.name, ' ', judge.feature.dimension));
    throw ConfigError(text("--reference ", path.string(), ": it holds ", what_it_holds(statistics),
                           ", which no score of these judges uses (features: ", join(needed, ", "),
                           "). Choose the judges it was made with by --config, or give images as the reference"));
  }
  reference.sha256 = sha256_of_file(path);
  if (std::find(wanted.begin(), wanted.end(), true) != wanted.end()) {
    const std::shared_ptr<StoredImages> images = images_of_npz(path);
    if (!(images->shape() == judges.image())) {
      throw ConfigError(text("--reference ", path.string(), ": its images have ", images->shape().height, " px and ",
                             images->shape().channels, " channels; those to judge have ", judges.image().height,
                             " px and ", judges.image().channels));
    }
    const ImageStream stream = stream_of(images, spread(0, images->size(), "", ""), path.string());
    GatherOptions gathering;
    gathering.title = "judging the reference";
    gathering.is_cancelled = options.is_cancelled;
    gathering.wanted = wanted;
    reference.state = gather(stream, judges, gathering).state;
    reference.images_by_metric.assign(served.size(), stream.count);
  } else {
    reference.state.metrics.resize(served.size());
    reference.images_by_metric.assign(served.size(), 0);
  }
  const Value* written = statistics.record.find("images");
  for (std::size_t i = 0; i < served.size(); ++i) {
    const JudgeMetric& metric = judges.metrics()[i];
    if (served[i] >= 0) {
      const Moments& moments = statistics.moments[static_cast<std::size_t>(served[i])].second;
      reference.state.metrics[i] = state_of(metric, moments);
      reference.images_by_metric[i] = written != nullptr && written->is_integer() ? written->as_integer() : 0;
    } else if (!wanted[i]) {
      reference.state.metrics[i].clear();
    }
  }
  std::set<std::int64_t> counts;
  for (std::size_t i = 0; i < served.size(); ++i) {
    if (served[i] >= 0 || wanted[i]) counts.insert(reference.images_by_metric[i]);
  }
  if (counts.size() == 1) reference.images = *counts.begin();
  if (!left_out.empty()) {
    reference.remarks.push_back(text(join(left_out, ", "), ": left out, since the reference file holds ",
                                     what_it_holds(statistics), statistics.has_images ? "" : " and no images"));
  }
  remark_on_conventions(reference, judges, served, statistics.record.find(kStatisticsOf) != nullptr);
  return reference;
}

}  // namespace

Reference reference_of_images(const ImageStream& stream, const Judges& judges, const ReferenceOptions& options) {
  Reference reference;
  reference.name = stream.name;
  reference.images = stream.count;
  reference.sha256 = sha256(to_json(stream.identity));
  reference.identified_by = images_in_identity(stream.identity);
  const Value all = table({{"images", stream.identity},
                           {"count", stream.count},
                           {"program", "casdm " CASDM_SDK_VERSION},
                           {"judges", judges.identity()}});
  const ReferenceCache cache;
  const fs::path kept = options.use_cache ? cache.file(sha256(to_json(all))) : fs::path();
  const fs::path folder = kept.parent_path();
  std::error_code ignored;
  if (options.reads_again) fs::remove(fs::path(kept).replace_extension(".state"), ignored);
  if (!kept.empty() && !options.reads_again && fs::exists(kept, ignored)) {
    try {
      reference.state = read_states(kept, judges, /*is_complete=*/true).state;
      cache.touch(kept);
      return reference;
    } catch (const Error& error) {
      std::cerr << "warning: the reference is computed again: " << error.what() << '\n';
    }
  }
  GatherOptions gathering;
  gathering.title = "judging the reference";
  gathering.is_cancelled = options.is_cancelled;
  if (!kept.empty()) {
    std::error_code failure;
    fs::create_directories(folder, failure);
    if (failure) {
      std::cerr << "warning: the reference is not kept for the next time: " << folder.string() << ": "
                << failure.message() << '\n';
    } else {
      gathering.state_file = fs::path(kept).replace_extension(".state");
      remove_leftovers(folder);
    }
  }
  reference.state = gather(stream, judges, gathering).state;
  if (gathering.state_file.empty()) return reference;
  try {
    write_states(kept, reference, judges);
    fs::remove(gathering.state_file, ignored);
    cache.prune();
  } catch (const Error& error) {
    std::cerr << "warning: the reference is not kept for the next time: " << error.what() << '\n';
  }
  return reference;
}

bool is_reference_file(const fs::path& path) { return path.extension() == ".safetensors" || is_statistics_file(path); }

Reference reference_of_file(const fs::path& path, const Judges& judges, const ReferenceOptions& options) {
  std::error_code failure;
  if (!fs::exists(path, failure)) {
    const std::string near = near_path(path);
    throw ConfigError(text("--reference ", path.string(), ": it does not exist",
                           near.empty() ? "" : text("; did you mean ", quoted(near), "?")));
  }
  return path.extension() == ".safetensors" ? read_states(path, judges, /*is_complete=*/false)
                                            : read_foreign(path, judges, options);
}

}  // namespace casdm
