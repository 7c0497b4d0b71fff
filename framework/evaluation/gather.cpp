#include "framework/evaluation/gather.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <future>

#include "casdm/text.h"
#include "framework/reporting/progress.h"
#include "framework/support/checked_tensors.h"
#include "framework/support/files.h"
#include "framework/support/json_member.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kBlock = 64;  // images per call of an extractor
constexpr std::chrono::seconds kBetweenSaves(60);
constexpr const char* kRecord = "casdm_evaluation";
constexpr const char* kFirstImage = "first_image";

/// The file that keeps the state of an interrupted evaluation.
class StateFile {
 public:
  StateFile(fs::path path, Value settings) : path_(std::move(path)), settings_(std::move(settings)) {}

  /// Loads the stored state; false if there is none.
  bool restore(const Judges& judges, JudgedSet& set, at::Tensor& first_image) const {
    std::error_code ignored;
    if (path_.empty() || !fs::exists(path_, ignored)) return false;
    try {
      const TensorFile file = read_checked_tensors(path_);
      const auto found = file.metadata.find(kRecord);
      if (found == file.metadata.end()) {
        throw ConfigError(text(path_.string(), " is not the state of an evaluation; choose another --state"));
      }
      const Value record = from_json(found->second);
      if (!(json_member(record, "settings") == settings_)) {
        throw ConfigError(text(path_.string(),
                               " is the state of another evaluation: other images, judges or settings. "
                               "Choose another --state, or remove it"));
      }
      set.of_one_colour = json_member(record, "of_one_colour").as_integer();
      set.are_all_equal = json_member(record, "are_all_equal").as_boolean();
      set.state = unflattened(file.tensors, judges, json_member(record, "images").as_integer());
      first_image = file.at(kFirstImage);
      return true;
    } catch (const ConfigError&) {
      throw;
    } catch (const Error& error) {
      throw Error(text("the state of the evaluation cannot be used: ", error.what(), ". If ", path_.string(),
                       " is from an earlier evaluation, remove it to start again; else choose another --state"));
    }
  }

  void save(const JudgedSet& set, const at::Tensor& first_image) const {
    if (path_.empty() || set.state.images == 0) return;
    const Value record(Value::Table{{"settings", settings_},
                                    {"threads", std::int64_t{at::get_num_threads()}},
                                    {"images", set.state.images},
                                    {"of_one_colour", set.of_one_colour},
                                    {"are_all_equal", set.are_all_equal}});
    NamedTensors tensors = flat_state(set.state);
    tensors.emplace_back(kFirstImage, first_image);
    std::error_code failure;
    if (path_.has_parent_path()) fs::create_directories(path_.parent_path(), failure);
    if (failure) throw Error(text(path_.parent_path().string(), " cannot be made: ", failure.message()));
    write_checked_tensors(path_, tensors, {{kRecord, to_json(record)}});
  }

 private:
  fs::path path_;
  Value settings_;
};

void look_at(JudgedSet& set, const at::Tensor& images, const at::Tensor& first_image) {
  const at::Tensor flat = images.flatten(1);
  set.of_one_colour += flat.amax(1).eq(flat.amin(1)).sum().item<std::int64_t>();
  if (set.are_all_equal) set.are_all_equal = images.eq(first_image).all().item<bool>();
}

/// In the form in which it comes back from a file.
Value settings_of(const ImageStream& stream, const Judges& judges) {
  const Value settings(
      Value::Table{{"images", stream.identity}, {"count", stream.count}, {"judges", judges.identity()}});
  return from_json(to_json(settings));
}

}  // namespace

std::int64_t threads_of_state(const fs::path& state_file) {
  const TensorFile file = read_safetensors(state_file);
  const auto found = file.metadata.find(kRecord);
  const Value record = found == file.metadata.end() ? Value() : from_json(found->second);
  const Value* threads = record.find("threads");
  return threads != nullptr && threads->is_integer() ? std::clamp<std::int64_t>(threads->as_integer(), 0, 1024) : 0;
}

NamedTensors flat_state(const SetState& set) {
  NamedTensors tensors;
  for (std::size_t i = 0; i < set.metrics.size(); ++i) {
    for (const auto& [name, tensor] : set.metrics[i]) tensors.emplace_back(text(i, '/', name), tensor);
  }
  return tensors;
}

SetState unflattened(const NamedTensors& tensors, const Judges& judges, std::int64_t images) {
  SetState set = judges.start();
  set.images = images;
  const std::map<std::string, Tensor> by_name(tensors.begin(), tensors.end());
  for (std::size_t i = 0; i < set.metrics.size(); ++i) {
    for (auto& [name, tensor] : set.metrics[i]) {
      const auto found = by_name.find(text(i, '/', name));
      if (found == by_name.end())
        throw Error(text("it lacks ", quoted(name), " of ", judges.metrics()[i].score_names[0]));
      tensor = found->second.clone();
    }
  }
  return set;
}

JudgedSet gather(const ImageStream& stream, const Judges& judges, const GatherOptions& options) {
  const StateFile file(options.state_file, settings_of(stream, judges));
  JudgedSet set;
  at::Tensor first_image;
  if (!file.restore(judges, set, first_image)) set.state = judges.start();
  Progress progress(options.title, stream.count, "images", set.state.images);
  if (set.state.images > 0) progress.say(text("continuing after ", set.state.images, " of ", stream.count, " images"));

  const auto read = [&](std::int64_t first) { return stream.read(first, std::min(kBlock, stream.count - first)); };
  const auto tick = [&](std::int64_t drawn) { progress.update(drawn); };
  if (stream.on_drawn) *stream.on_drawn = tick;
  std::future<at::Tensor> ahead;
  bool is_whole = true;
  auto saved = Clock::now();
  try {
    while (set.state.images < stream.count) {
      const std::int64_t first = set.state.images;
      if (options.is_cancelled && options.is_cancelled()) throw EvaluationStopped("interrupted");
      const at::Tensor images = ahead.valid() ? ahead.get() : read(first);
      if (stream.reads_ahead && first + kBlock < stream.count) {
        ahead = std::async(std::launch::async, read, first + kBlock);
      }
      if (!first_image.defined()) first_image = images[0].clone();
      is_whole = false;
      judges.update(set.state, images, first, options.wanted);
      look_at(set, images, first_image);
      is_whole = true;
      progress.update(set.state.images);
      if (Clock::now() - saved < kBetweenSaves) continue;
      saved = Clock::now();
      try {
        file.save(set, first_image);
      } catch (const Error& failure) {
        progress.say(
            text("warning: if interrupted, the evaluation would start again, or from where it was last saved: ",
                 failure.what()));
      }
    }
  } catch (const Error& failure) {
    if (stream.on_drawn) *stream.on_drawn = {};
    const bool is_stopped = options.is_cancelled && options.is_cancelled();
    if (!is_stopped || !is_whole) throw;
    try {
      file.save(set, first_image);
    } catch (const Error& error) {
      throw EvaluationStopped(text("the evaluation was stopped after ", set.state.images, " of ", stream.count,
                                   " images, and these are not kept: ", error.what()));
    }
    throw EvaluationStopped(
        text("the evaluation was stopped after ", set.state.images, " of ", stream.count, " images",
             options.state_file.empty() || set.state.images == 0 ? "" : ". The same command continues from there"));
  }
  if (stream.on_drawn) *stream.on_drawn = {};
  return set;
}

}  // namespace casdm
