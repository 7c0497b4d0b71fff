#include "framework/training/training_evaluation.h"

#include <ATen/ATen.h>

#include <cmath>
#include <functional>

#include "casdm/text.h"
#include "framework/config/key_path.h"
#include "framework/data/extras.h"
#include "framework/data/image_transform.h"
#include "framework/evaluation/reference.h"
#include "framework/sampling/generate.h"
#include "framework/sampling/run_sampler.h"
#include "framework/support/files.h"
#include "framework/training/signals.h"

namespace casdm {

namespace {

constexpr std::size_t kMeasureDigits = 16;

using Visitor = std::function<void(std::int64_t images, const Value& evaluation)>;

/// Calls `visit` for each line of the log that contains an evaluation.
void for_each_evaluation(const RunFolder& run, const Visitor& visit) {
  std::error_code ignored;
  if (!std::filesystem::exists(run.log(), ignored)) return;
  const std::string content = read_file(run.log());
  for (std::size_t start = 0; start < content.size();) {
    const std::size_t end = std::min(content.find('\n', start), content.size());
    const std::string_view line = std::string_view(content).substr(start, end - start);
    start = end + 1;
    if (line.find("\"evaluation\"") == std::string_view::npos) continue;
    try {
      const Value record = from_json(line);
      const Value* images = record.find("images");
      const Value* evaluation = record.find("evaluation");
      if (images != nullptr && evaluation != nullptr) visit(images->as_integer(), *evaluation);
    } catch (const Error&) {  // not one of our lines
    }
  }
}

/// The reference named by `evaluate.reference`: a file of statistics, or images.
/// @param images  null: the path is that of a file of statistics
Reference reference_elsewhere(const EvaluateOptions& evaluate, const std::shared_ptr<StoredImages>& images,
                              const Judges& judges, const ReferenceOptions& options) {
  const std::string path = evaluate.reference.string();
  if (images == nullptr) return reference_of_file(path, judges, options);
  const auto chosen = spread(evaluate.reference_num, images->size(), "evaluate.reference_num", path);
  return reference_of_images(stream_of(images, chosen, path), judges, options);
}

}  // namespace

TrainingEvaluation::TrainingEvaluation(const RunFolder& run, const LoadedExperiment& experiment, const Model& model,
                                       std::shared_ptr<Dataset> dataset, TrainingState& state, c10::Device device,
                                       SharedDrawing& drawing)
    : run_(run),
      experiment_(experiment),
      options_(evaluate_options(experiment.resolved)),
      model_(model),
      state_(state),
      drawing_(drawing) {
  const EvaluateOptions& options = options_;
  if (options.every_images == 0) return;
  judges_.emplace(options, *experiment.host, model.image, device);
  if (!options.keep_best.empty()) is_lower_better_ = judges_->is_lower_better(options.keep_best);
  const ReferenceOptions reading{interrupted, true};
  if (options.reference.empty()) {
    const std::string name = "the training's images";
    const std::shared_ptr<StoredImages> images = images_of_data(experiment.options.data, std::move(dataset));
    const std::vector<std::int64_t> chosen =
        spread(options.reference_num, images->size(), "evaluate.reference_num", name);
    judges_->require_enough(options.num, static_cast<std::int64_t>(chosen.size()));
    reference_ = reference_of_images(stream_of(images, chosen, name), *judges_, reading);
  } else {
    require_reference(experiment.resolved);
    const std::string path = options.reference.string();
    if (!is_reference_file(path)) elsewhere_ = images_at(path, judges_->image(), experiment);
    reference_ = reference_elsewhere(options, elsewhere_, *judges_, reading);
    judges_->require_enough(options.num, reference_.images);
  }
  const Experiment& said = experiment.options;
  Value measure(Value::Table{{"judges", judges_->identity()},
                             {"num", options.num.value},
                             {"seed", options.seed},
                             {"reference", reference_.sha256},
                             {"noise", said.noise.table},
                             {"sampler", said.sampler.table},
                             {"guidance", write_options(said.guidance)},
                             {"precision", std::string(to_string(said.run.precision))}});
  if (model.conditions) {
    conditions_ = conditions_of_samples();
    measure.set(kConditionsDigest, conditions_);
  }
  measure_ = sha256(to_json(measure)).substr(0, kMeasureDigits);
}

std::string TrainingEvaluation::conditions_of_samples() const {
  ImageReader& images = *model_.conditions;
  const std::int64_t classes = experiment_.options.data.use_labels ? images.dataset().num_classes() : 0;
  std::function<std::int64_t(std::int64_t)> label;
  if (classes > 0) label = [&](std::int64_t index) { return label_of_sample(&images, classes, index); };
  return digest_of_conditions(images, options_.num, label, interrupted);
}

void TrainingEvaluation::begin() {
  if (!is_wanted()) return;
  if (elsewhere_ != nullptr) {
    const std::string remark = remark_on(state_.seen(), elsewhere_->places(), options_.reference.string());
    if (!remark.empty()) reference_.remarks.push_back(remark);
    elsewhere_.reset();
  }
  const Value& resolved = experiment_.resolved;
  trained_with_ =
      shared_networks(*judges_, experiment_, resolved, earlier_experiments(run_.path(), resolved, remarks_), remarks_);
  read_log();
}

void TrainingEvaluation::read_log() {
  std::string last;
  for_each_evaluation(run_, [&](std::int64_t images, const Value& evaluation) {
    last_images_ = images;
    const Value* measure = evaluation.find("measure");
    const std::string here = measure != nullptr && measure->is_string() ? measure->as_string() : "";
    const Value* searched = evaluation.find("keep_best");  // of earlier versions: the same
    const bool is_other = searched != nullptr && !(*searched == Value(options_.keep_best));
    if (here != last || is_other) has_best_ = false;
    last = is_other ? "" : here;
    const Value* is_best = evaluation.find("is_best");
    if (is_best == nullptr) return;  // no checkpoint was kept for it
    if (is_other && *is_best == Value(true)) best_images_ = images;
    const Value* scores = evaluation.find("scores");
    const Value* score = scores != nullptr ? scores->find(options_.keep_best) : nullptr;
    const Value* value = score != nullptr ? score->find("value") : nullptr;
    // As the search itself decided: it may have started again.
    if (is_other || *is_best != Value(true) || value == nullptr || !value->is_number()) return;
    set_best(images, value->as_number());
  });
  if (last != measure_) has_best_ = false;
}

void TrainingEvaluation::set_best(std::int64_t images, double value) {
  has_best_ = true;
  best_images_ = images;
  best_ = value;
}

bool TrainingEvaluation::is_better(double value) const {
  if (!std::isfinite(value)) return false;
  return !has_best_ || (is_lower_better_ ? value < best_ : value > best_);
}

std::string TrainingEvaluation::remark() const {
  if (options_.keep_best.empty() || has_best_ || best_images_ < 0) return "";
  return text("the ", options_.keep_best,
              " of earlier checkpoints was measured in another way (judges, number, seed or ",
              "reference, or how samples are drawn), or another score chose the best, so the search for the best "
              "starts again: after the next evaluation "
              "the best checkpoint so far, at ",
              best_images_, " images, is no longer kept. To keep it, copy it to another name");
}

bool TrainingEvaluation::is_done() const { return !is_wanted() || last_images_ == state_.images(); }

ImageStream TrainingEvaluation::stream() const {
  GenerateOptions options;
  options.seed = static_cast<std::uint64_t>(options_.seed);
  ImageStream stream;
  stream.name = "samples";
  stream.count = options_.num;
  stream.shape = model_.image;
  stream.read = [this, options](std::int64_t first, std::int64_t n) mutable {
    options.first = first;
    options.count = n;
    return to_uint8(drawing_.draw(options));
  };
  return stream;
}

bool TrainingEvaluation::evaluate() {
  if (!is_wanted() || drawing_.is_cancelled()) return false;
  JudgedSet set;
  std::vector<JudgedScore> scores;
  try {
    GatherOptions gathering;
    gathering.title = "judging samples";
    gathering.is_cancelled = [&] { return drawing_.is_cancelled(); };
    set = gather(stream(), *judges_, gathering);
    scores = judges_->compare(set.state, reference_.state);
  } catch (const EvaluationStopped&) {
    return false;  // repeated at the resume
  } catch (const Error& error) {
    const std::string message = text("the samples at ", state_.images(), " images could not be judged: ", error.what(),
                                     ". To train without: --set evaluate.every_images=0");
    if (dynamic_cast<const ConfigError*>(&error) != nullptr) throw ConfigError(message);
    throw Error(message);
  }
  const EvaluateOptions& options = options_;
  Value values{Value::Table{}};
  bool is_best = false;
  scores_ = Value(Value::Table{});
  for (const JudgedScore& score : scores) {
    values.set(score.name,
               Value(Value::Table{{"value", score.value},
                                  {"standard_error", score.standard_error ? Value(*score.standard_error) : Value()},
                                  {"lower_is_better", score.is_lower_better}}));
    scores_.set(score.name, score.value);
    if (score.name != options.keep_best || !is_better(score.value)) continue;
    is_best = true;
    set_best(state_.images(), score.value);
  }
  Value::Array warnings;
  for (const std::string& warning : warnings_of(set, reference_, *judges_, trained_with_, scores))
    warnings.emplace_back(warning);
  for (const std::string& remark : remarks_) warnings.emplace_back(remark);
  Value evaluation(Value::Table{{"num", set.state.images},
                                {"weights", "ema"},
                                {"measure", measure_},
                                {"seed", options.seed},
                                {"reference_num", reference_.images > 0 ? Value(reference_.images) : Value()},
                                {"reference_sha256", reference_.sha256},
                                {"scores", values}});
  if (!conditions_.empty()) evaluation.set(kConditionsDigest, conditions_);
  if (!options.keep_best.empty()) {
    evaluation.set("keep_best", options.keep_best);
    evaluation.set("is_best", is_best);
  }
  evaluation.set("warnings", warnings);
  run_.append(Value(Value::Table{{"images", state_.images()},
                                 {"step", state_.step()},
                                 {"seconds", state_.seconds()},
                                 {"evaluation", evaluation}}));
  last_images_ = state_.images();
  return is_best;
}

void require_reference(const Value& experiment) {
  const std::filesystem::path reference = evaluate_options(experiment).reference;
  std::error_code ignored;
  if (reference.empty() || std::filesystem::exists(reference, ignored)) return;
  fail_at(find_path(experiment, "evaluate.reference")->location(), text(quoted(reference), " does not exist"));
}

bool is_evaluated(const RunFolder& run, std::int64_t images) {
  bool is_found = false;
  for_each_evaluation(run, [&](std::int64_t seen, const Value&) { is_found = is_found || seen == images; });
  return is_found;
}

}  // namespace casdm
