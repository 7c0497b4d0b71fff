#include "framework/training/upkeep.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/document.h"
#include "framework/config/evaluate_options.h"
#include "framework/config/tensorboard_option.h"
#include "framework/device/device.h"
#include "framework/sampling/generate.h"
#include "framework/sampling/training_grid.h"
#include "framework/support/exception_message.h"
#include "framework/support/files.h"
#include "framework/support/memory.h"
#include "framework/support/number_format.h"
#include "framework/training/best_checkpoint.h"
#include "framework/training/log_file.h"
#include "framework/training/pretrained.h"

namespace casdm {

std::filesystem::path SampleGrids::path() const { return run_.samples() / text(state_.images(), ".png"); }

bool SampleGrids::is_drawn() const {
  return experiment_.options.log.sample_count == 0 || std::filesystem::exists(path());
}

void SampleGrids::draw() {
  if (experiment_.options.log.sample_count == 0 || drawing_.is_cancelled()) return;
  try {
    run_.require_in_place();
    std::error_code ignored;
    std::filesystem::create_directories(run_.samples(), ignored);  // it may have been removed
    draw_training_grid(experiment_, state_.images(), path(),
                       [&](const GenerateOptions& options) { return drawing_.draw(options); });
  } catch (const SamplingCancelled&) {
    // The resume draws the grid.
  } catch (const std::exception& error) {
    const bool is_too_large = is_out_of_memory(error);
    if (!is_too_large && dynamic_cast<const Error*>(&error) == nullptr) throw;
    const std::string message = text(
        "the samples at ", state_.images(), " images could not be drawn: ", exception_message(error),
        is_too_large ? text(". A smaller log.sample_count than ", experiment_.options.log.sample_count, " needs less")
                     : "",
        ". To train without: --set log.sample_count=0 --set log.sample_every_images=0");
    if (dynamic_cast<const ConfigError*>(&error) != nullptr) throw ConfigError(message);
    throw Error(message);
  }
}

Checkpoints::Checkpoints(const RunFolder& run, const LoadedExperiment& experiment, const Value& config,
                         TrainingState& state, c10::Device device, std::string last, Progress& progress)
    : run_(run),
      experiment_(experiment),
      config_(config),
      state_(state),
      last_(std::move(last)),
      saved_at_(last_.empty() ? -1 : state.images()),
      progress_(progress),
      is_in_background_(writes_in_background(experiment.options.checkpoint.in_background, device)),
      writer_(run, experiment.options.checkpoint.keep_last) {}

std::string Checkpoints::last_good() {
  finish_after_failure();
  return last_.empty() ? "the run has no checkpoint yet" : "the last good checkpoint is " + last_;
}

CheckpointContent Checkpoints::content() const {
  CheckpointContent content = state_.content();
  state_.check_numbers(content.tensors);
  content.numbers.set(kLogMark, mark_of_log(run_.log()));
  content.config = config_;
  content.plugins = experiment_.host->used();
  return content;
}

void Checkpoints::save() {
  finish();
  if (saved_at_ != state_.images()) write(content());
}

void Checkpoints::begin_save() {
  if (begun_at_ != state_.images()) finish();
  if (saved_at_ == state_.images()) return;
  CheckpointContent saved = content();
  if (is_in_background_ && copy(tensors_of(saved))) {
    begun_at_ = state_.images();
    return writer_.begin(std::move(saved));
  }
  finish();
  write(saved);
}

void Checkpoints::begin_snapshots() {
  finish();
  state_.check_numbers(state_.own());
  std::vector<SnapshotContent> snapshots = state_.snapshots();
  for (SnapshotContent& snapshot : snapshots) snapshot.trained = description_of(config_);
  if (!is_in_background_ || !copy(tensors_of(snapshots))) return save_ema_snapshots(run_, snapshots);
  begun_at_ = state_.images();
  writer_.begin(std::move(snapshots));
}

/// Replaces the tensors by copies, unless there is no memory for them: then some or all are still those of the
/// training.
bool Checkpoints::copy(const std::vector<NamedTensors*>& lists) {
  const std::uint64_t bytes = bytes_of(lists), all = copied_bytes_ + bytes;
  try {
    // Freed memory may stay with the process, so that where copies have fitted once, the next ones do.
    if (all <= most_copied_bytes_ || bytes <= free_memory() / 2) {
      copy_to_host(lists);
      copied_bytes_ = all;
      most_copied_bytes_ = std::max(most_copied_bytes_, all);
      return true;
    }
  } catch (const std::exception& error) {
    if (!is_out_of_memory(error)) throw;
  }
  progress_.say(text("checkpoints are written between steps from here on: there is no memory for a copy of the state (",
                     size_text(static_cast<double>(bytes)), ")"));
  is_in_background_ = false;
  return false;
}

void Checkpoints::write(const CheckpointContent& content) {
  has_failed_ = true;
  note(writer_.write(content));
}

void Checkpoints::finish() {
  if (!writer_.is_begun()) return;
  has_failed_ = true;
  begun_at_ = -1;
  copied_bytes_ = 0;
  note(writer_.finish());
}

void Checkpoints::note(const CheckpointWriter::Written& written) {
  has_failed_ = false;
  if (written.path.empty()) return;
  last_ = written.path.string();
  saved_at_ = written.images;
  for (const std::string& warning : written.warnings) progress_.say("warning: " + warning);
}

void Checkpoints::settle() {
  if (writer_.is_done()) finish();
}

/// False: it could not be written, which has been reported.
bool Checkpoints::finish_after_failure() {
  try {
    finish();
    return true;
  } catch (const Error& error) {
    progress_.say(error.what());
    return false;
  }
}

void Checkpoints::save_as_best() {
  save();
  keep_as_best(run_, last_);
}

bool Checkpoints::restore_best(std::int64_t images) {
  for (const auto& [seen, path] : Checkpoint::all(run_)) {
    if (seen != images) continue;
    if (best_checkpoint(run_) != path) keep_as_best(run_, path);
    return true;
  }
  forget_best(run_);
  return false;
}

void Checkpoints::forget_lost_best() {
  if (best_checkpoint(run_).empty()) forget_best(run_);
}

void Checkpoints::remove_old() {
  if (last_.empty()) return;
  Checkpoint::remove_old(run_, last_, experiment_.options.checkpoint.keep_last,
                         [&](const std::string& line) { progress_.say("warning: " + line); });
}

void Checkpoints::save_after(const std::exception& failure, bool may_save) {
  if (!finish_after_failure() || !may_save) return;
  const bool is_new = state_.images() > std::max<std::int64_t>(saved_at_, 0);
  if (has_failed_ || !is_new || dynamic_cast<const NotFinite*>(&failure) != nullptr) return;
  if (state_.is_divided() || !state_.is_whole()) {
    const char* const reason = state_.is_divided() ? "with train.shard_optimizer each process kept a part of it"
                                                   : "a step that was changing it has not ended";
    return progress_.say(text("the state at ", state_.images(), " images is lost, since ", reason, "; ", last_good()));
  }
  try {
    save();
    progress_.say(text("the state at ", state_.images(), " images is saved"));
  } catch (const Error& error) {
    progress_.say(text("saving the state at ", state_.images(), " images: ", error.what()));
  }
}

Upkeep::Upkeep(const RunFolder& run, const LoadedExperiment& experiment, const Value& config, TrainingState& state,
               c10::Device device, std::string last, SharedDrawing& drawing, TrainingEvaluation& evaluation,
               Progress& progress)
    : run_(run),
      state_(state),
      device_(device),
      has_module_rates_(!experiment.options.optimizer.modules().empty()),
      checkpoints_(run, experiment, config, state, device, std::move(last), progress),
      grids_(run, experiment, state, drawing),
      evaluation_(evaluation),
      progress_(progress),
      recorded_images_(state.images()),
      recorded_seconds_(state.seconds()) {
  if (writes_tensorboard(config)) {
    events_ = std::make_unique<EventFile>(run.path(), state.images(), to_toml(config));
  }
  const Experiment& options = experiment.options;
  const std::int64_t snapshots = options.ema.snapshot_every_images;
  const auto save_snapshots = [this] {
    is_recorded_ = false;
    checkpoints_.begin_snapshots();
    is_recorded_ = true;
  };
  tasks_ = {{options.log.every_images, true, [this] { write_record(); }},
            {snapshots, snapshots > 0, save_snapshots},
            {options.checkpoint.every_images, true, [this] { checkpoints_.begin_save(); }}};
  drawing_ = {options.log.sample_every_images, true, [this] { do_aside([this] { draw_grid(); }); }};
  judging_ = {evaluation.options().every_images, evaluation.is_wanted(), [this] { do_aside([this] { evaluate(); }); }};
  tasks_.push_back(drawing_);
  tasks_.push_back(judging_);
  checkpoints_.forget_lost_best();
  if (!evaluation.options().keep_best.empty() && evaluation.is_wanted()) {
    const std::int64_t best = evaluation.best_images();
    if (!checkpoints_.restore_best(best) && best >= 0) {
      evaluation.forget_best();
      progress.say(text("warning: the run no longer has its best checkpoint, at ", best, " images, so the search for ",
                        "the best starts again with the next evaluation"));
    }
  }
}

bool is_upkeep_due(const LoadedExperiment& experiment, const TrainingState& state) {
  const Experiment& options = experiment.options;
  const std::int64_t intervals[] = {options.log.every_images, options.ema.snapshot_every_images,
                                    options.checkpoint.every_images, options.log.sample_every_images,
                                    evaluate_options(experiment.resolved).every_images};
  return std::any_of(std::begin(intervals), std::end(intervals), [&](std::int64_t every) {
    return Periodic{every, true, {}}.is_due(state.images_before(), state.images(), state.total_images());
  });
}

bool Upkeep::is_due(const Periodic& task) const {
  return task.is_due(state_.images_before(), state_.images(), state_.total_images());
}

void Upkeep::catch_up() {
  checkpoints_.remove_old();
  if (state_.images() == 0) return;
  if (is_due(drawing_) && !grids_.is_drawn()) drawing_.work();
  if (is_due(judging_) && !evaluation_.is_done()) judging_.work();
}

void Upkeep::do_aside(const std::function<void()>& work) {
  const double begin = state_.seconds();
  work();
  recorded_seconds_ += state_.seconds() - begin;
}

void Upkeep::evaluate() {
  const bool is_best = evaluation_.evaluate();
  if (events_ && evaluation_.is_done()) {
    events_->add_line(Value(Value::Table{{"images", state_.images()}, {"score", evaluation_.scores()}}));
  }
  if (is_best) checkpoints_.save_as_best();
}

void Upkeep::run(const StepRecord& record) {
  learning_rate_ = record.learning_rate;
  learning_rates_ = Value();
  for (std::size_t i = 0; i < record.modules.size() && has_module_rates_; ++i) {
    learning_rates_.set(record.modules[i], record.learning_rates[i]);
  }
  for (const Periodic& task : tasks_) {
    if (is_due(task)) task.work();
  }
}

bool Upkeep::finish() {
  checkpoints_.save();
  checkpoints_.remove_old();  // another attempt, since nothing else will try again to remove what could not be removed
  return state_.is_complete() && grids_.is_drawn() && evaluation_.is_done();
}

void Upkeep::draw_grid() {
  grids_.draw();
  if (!events_ || !std::filesystem::exists(grids_.path())) return;
  events_->add_image("samples", state_.images(), read_file(grids_.path()));
}

/// Unlike a term, a statistic may be NaN: nothing is trained on it.
void Upkeep::warn_of_nan(const Value& statistics) {
  for (const auto& [name, entry] : statistics.as_table()) {
    const Value* mean = entry.find("mean");
    if (mean == nullptr || std::isfinite(mean->as_number()) || !warned_of_.insert(name).second) continue;
    progress_.say(text("warning: the head's statistic ", quoted(name), " is not finite up to ", state_.images(),
                       " images; comparisons leave such values out"));
  }
}

void Upkeep::write_record() {
  Value line{Value::Table{}};
  line.set("images", state_.images());
  line.set("step", state_.step());
  const double now = state_.seconds(), seconds = now - recorded_seconds_;
  line.set("seconds", now);
  line.set("learning_rate", learning_rate_);
  if (!learning_rates_.is_null()) line.set("learning_rates", learning_rates_);
  line.set("images_per_second", seconds > 0 ? static_cast<double>(state_.images() - recorded_images_) / seconds : 0.0);
  recorded_images_ = state_.images();
  recorded_seconds_ = now;
  line.set("threads", std::int64_t{at::get_num_threads()});
  if (const std::int64_t bytes = peak_memory(device_)) line.set("device_memory", bytes);
  const Value means = state_.statistics.json();
  for (const auto& [key, value] : means.as_table()) line.set(key, value);
  warn_of_nan(*means.find("statistic"));
  is_recorded_ = false;
  run_.append(line);
  if (events_) events_->add_line(line);
  is_recorded_ = true;
  state_.statistics.clear();
}

}  // namespace casdm
