#include "framework/training/run_records.h"

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <vector>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/support/number_format.h"
#include "framework/training/effect.h"
#include "framework/training/initial_weights.h"
#include "framework/training/resume.h"
#include "framework/training/run_config.h"

namespace casdm {

namespace {

/// "eps 0.0213 mu 0.004", for the progress line.
std::string means(const StepStatistics& statistics) {
  std::vector<std::string> parts;
  for (const std::string& term : statistics.terms()) {
    parts.push_back(text(term, " ", significant(statistics.mean(term))));
  }
  return join(parts, " ");
}

/// The number of images after the batch that completes the training.
std::int64_t end_of_last_batch(const TrainingState& state, std::int64_t batch_size) {
  const std::int64_t left = std::max<std::int64_t>(state.total_images() - state.images(), 0);
  return state.images() + (left + batch_size - 1) / batch_size * batch_size;
}

/// What to try if a loss, a gradient or a weight is not finite after `steps` steps.
std::string advice(const Experiment& options, std::int64_t steps) {
  std::vector<std::string> ideas;
  if (steps == 0) {
    ideas = {text("No step has been taken: check the noise schedule, the options of the head",
                  options.metrics.empty() ? "" : " and of the metrics", ", and what the data and [[init]] give")};
  } else {
    ideas = {"a smaller learning rate", "smaller weights of the terms"};
  }
  if (options.run.precision != Precision::fp32) ideas.emplace_back("run.precision = \"fp32\"");
  if (!options.metrics.empty()) ideas.emplace_back("a t_range of the metrics without the noisiest timesteps");
  return text(steps == 0 ? "" : "Try ", join(ideas, ", or "));
}

std::vector<std::string> warnings_of(const Model& model, const Experiment& options, bool is_new) {
  std::vector<std::string> result = weak_settings(options);
  for (std::string& idle : idle_tables(model, options)) result.push_back(std::move(idle));
  if (!is_new) return result;
  for (std::string& random : left_at_random(model, options)) result.push_back(std::move(random));
  return result;
}

/// Their names with their weights, for people.
std::string describe(const ExperimentMetrics& metrics, const Experiment& options) {
  std::vector<std::string> names = metrics.terms();
  for (std::size_t i = 0; i < names.size(); ++i) {
    names[i] = text(names[i].substr(names[i].find('.') + 1), " (weight ", options.metrics[i].weight, ")");
  }
  return names.empty() ? "none" : join(names, ", ");
}

}  // namespace

RunRecords::RunRecords(TrainingParts& parts, const Value& config, RunFolder* run)
    : parts_(parts),
      config_(config),
      run_(run),
      drawing_(parts.model, parts.options, parts.state, parts.device.device, parts.world) {}

void RunRecords::on_first(const std::function<void()>& work) {
  parts_.world.on_first(work, [&](const std::string& request) {
    if (!parts_.state.help(request)) drawing_.help(request);
  });
}

void RunRecords::begin(std::optional<Checkpoint> start, bool allow_other_data) {
  parts_.state.begin_sharing();
  parts_.world.on_first([&] {
    evaluation_.emplace(*run_, parts_.experiment, parts_.model, parts_.dataset, parts_.state, parts_.device.device,
                        drawing_);
    if (parts_.options.log.sample_count > 0 || evaluation_->is_wanted()) drawing_.try_first_step();
    const bool has_best = evaluation_->is_wanted() && !evaluation_->options().keep_best.empty();
    if (has_best) require_place_for_best(*run_);
    const std::string from = restore(start, allow_other_data);
    evaluation_->begin();
    const TrainingState& state = parts_.state;
    progress_.emplace("training", end_of_last_batch(state, parts_.options.train.batch_size), "images", state.images());
    introduce(from.empty());
    if (const std::string remark = evaluation_->remark(); !remark.empty()) progress_->say("warning: " + remark);
    upkeep_.emplace(*run_, parts_.experiment, config_, parts_.state, parts_.device.device, from, drawing_, *evaluation_,
                    *progress_);
  });
}

/// Restores the checkpoint and frees it, or prepares a new run; writes the run's config.toml. Returns the checkpoint's
/// path; empty: none.
std::string RunRecords::restore(std::optional<Checkpoint>& start, bool allow_other_data) {
  std::string from;
  if (start) {
    from = resume(*run_, *start, parts_.experiment, config_, allow_other_data, parts_.state).string();
  } else {
    start_over(*run_, parts_.experiment, config_);
  }
  write_run_config(run_->config(), config_);
  start.reset();
  return from;
}

/// Prints what the user should know before the first step.
void RunRecords::introduce(bool is_new) {
  const Experiment& options = parts_.options;
  const int processes = parts_.world.size();
  progress_->say("data: " + describe(*parts_.dataset));
  progress_->say(text("device: ", parts_.device.description, "; ", parts_.threads.describe()));
  progress_->say("networks: " + describe(parts_.model));
  progress_->say("metrics: " + describe(parts_.metrics, options));
  const std::int64_t batch = options.train.batch_size, left = parts_.state.total_images() - parts_.state.images();
  progress_->say(text("steps: ", (left + batch - 1) / batch, is_new ? "" : " more", ", each of ", batch,
                      batch == 1 ? " image" : " images", ", in ", run_->path().string()));
  if (processes > 1) {
    progress_->say(text(processes, " processes, each with ", options.train.batch_size / processes, " of the ",
                        options.train.batch_size, " images of a batch"));
  }
  if (parts_.state.is_divided()) {
    const std::vector<std::int64_t> bytes = parts_.state.divided_bytes();
    const auto most = static_cast<double>(*std::max_element(bytes.begin(), bytes.end()));
    progress_->say(text("train.shard_optimizer: a process keeps ", size_text(most), " of the ",
                        size_text(std::accumulate(bytes.begin(), bytes.end(), 0.0)),
                        " of optimiser state and averages"));
  }
  for (const std::string& warning : warnings_of(parts_.model, options, is_new)) progress_->say("warning: " + warning);
  const auto is_trainable = [](const ModuleState& module) { return module.is_trainable(); };
  if (std::none_of(parts_.state.modules.begin(), parts_.state.modules.end(), is_trainable)) {
    progress_->say("every module is frozen: the run only measures and trains nothing");
  }
}

void RunRecords::catch_up() {
  on_first([&] { upkeep_->catch_up(); });
}

void RunRecords::update(const StepRecord& record) {
  if (run_ != nullptr) run_->settle();
  const bool is_due = is_upkeep_due(parts_.experiment, parts_.state);
  if (is_due) parts_.step.settle();
  if (progress_) progress_->update(parts_.state.images(), means(parts_.state.statistics));
  say_remarks();
  if (upkeep_) upkeep_->settle();
  if (is_due) on_first([&] { upkeep_->run(record); });
}

void RunRecords::say_remarks() {
  const std::string remarks[] = {parts_.step.remark(), parts_.metrics.remark(), parts_.threads.update()};
  for (const std::string& remark : remarks) {
    if (progress_ && !remark.empty()) progress_->say(remark);
  }
}

TrainingEnd RunRecords::finish() {
  parts_.step.settle();
  say_remarks();
  TrainingEnd end{parts_.state.images(), parts_.state.is_complete()};
  on_first([&] { end.is_complete = upkeep_->finish(); });
  return end;
}

void RunRecords::say(const std::string& line) {
  const std::string whole = line + parts_.world.whose(parts_.world.rank());
  if (progress_) {
    progress_->say(whole);
  } else {
    std::fprintf(stderr, "%s\n", printable(whole).c_str());
  }
}

void RunRecords::fail(const NotFinite& failure) {
  if (!upkeep_) throw ProcessLost(failure.what(), /*is_told=*/true);  // the first process has found the same
  const std::string message =
      text(failure.what(), "; ", upkeep_->last_good(), ". ", advice(parts_.options, parts_.state.step()));
  if (parts_.world.size() > 1) throw ProcessLost(message, /*is_told=*/false);  // the message says whose image it was
  throw NotFinite(message);
}

void RunRecords::save_after(const std::exception& failure) {
  try {
    parts_.step.settle(/*with_others=*/false);
  } catch (const NotFinite& earlier) {
    if (!upkeep_) throw ProcessLost(earlier.what(), /*is_told=*/false);  // the first process may be gone
    fail(earlier);
  } catch (const std::exception&) {  // the numbers cannot be read: the state is not whole, and `failure` says why
  }
  if (upkeep_) upkeep_->save_after(failure);
}

}  // namespace casdm
