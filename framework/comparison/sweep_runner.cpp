#include "framework/comparison/sweep_runner.h"
#include "framework/comparison/sweep_evaluation.h"

#include <algorithm>
#include <iostream>
#include <thread>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/comparison/run_record.h"
#include "framework/config/key_path.h"
#include "framework/support/number_format.h"
#include "framework/training/signals.h"

namespace casdm {

namespace {

namespace fs = std::filesystem;

using Clock = std::chrono::steady_clock;

constexpr const char* kReference = "--reference";  // of casdm evaluate
constexpr auto kPause = std::chrono::milliseconds(100);
constexpr int kPausesPerLook = 10;  // at the logs

std::int64_t images_of(const SweepCell& cell) { return find_path(cell.experiment, "train.total_images")->as_integer(); }

/// A cell and the processes that work on it.
struct Job {
  const SweepCell* cell;
  std::unique_ptr<ProcessTeam> team;
  bool is_evaluation = false;
  Clock::time_point start = Clock::now();
};

class Runner {
 public:
  Runner(const Sweep& sweep, const std::vector<std::size_t>& cells, const SweepSettings& settings)
      : sweep_(sweep),
        settings_(settings),
        total_(total(sweep, cells)),
        progress_("sweep", total_, "images", seen(sweep, cells)) {
    for (const std::size_t index : cells) waiting_.push_back(&sweep.cells[index]);
    std::reverse(waiting_.begin(), waiting_.end());
  }

  SweepEnd run() {
    for (int pause = 0;; ++pause) {
      while (!interrupted() && !waiting_.empty() && jobs_.size() < static_cast<std::size_t>(settings_.jobs)) start();
      if (jobs_.empty()) break;
      if (interrupted() && !is_asked_) stop();
      std::erase_if(jobs_, [&](Job& job) { return job.team->has_ended() && !goes_on(job); });
      if (pause % kPausesPerLook == 0) look();
      std::this_thread::sleep_for(kPause);
    }
    end_.is_stopped = interrupted() && (!waiting_.empty() || stopped_ > 0);
    return end_;
  }

 private:
  static std::int64_t total(const Sweep& sweep, const std::vector<std::size_t>& cells) {
    std::int64_t images = 0;
    for (const std::size_t index : cells) images += images_of(sweep.cells[index]);
    return images;
  }

  static std::int64_t seen(const Sweep& sweep, const std::vector<std::size_t>& cells) {
    std::int64_t images = 0;
    for (const std::size_t index : cells) images += images_in_log(run_of(sweep, sweep.cells[index]));
    return images;
  }

  void start() {
    const SweepCell& cell = *waiting_.back();
    waiting_.pop_back();
    const CellState state = state_of(sweep_, cell);
    if (state == CellState::complete) {
      succeed(cell, "is complete");
      return;
    }
    jobs_.push_back({&cell, team_of(cell, state), state == CellState::trained});
  }

  /// The processes that do the next part of the work on a cell in `state`.
  std::unique_ptr<ProcessTeam> team_of(const SweepCell& cell, CellState state) const {
    const std::string run = run_of(sweep_, cell).string();
    std::vector<std::string> command{own_program().string()};
    if (state == CellState::waiting)
      command.insert(command.end(), {"train", experiment_file_of(sweep_, cell).string()});
    const std::vector<std::string> moved = moved_paths(sweep_, cell);
    if (state == CellState::started) {
      command.insert(command.end(), {"train", "--resume", run});
      for (const std::string& setting : moved) command.insert(command.end(), {"--set", setting});
    }
    if (state == CellState::trained) {
      command.insert(command.end(), {"evaluate", run});
      const std::vector<std::string> how = evaluation_words(sweep_);
      command.insert(command.end(), how.begin(), how.end());
      // The paths in the run's own [data] no longer exist.
      const bool is_own = std::none_of(sweep_.evaluate->begin(), sweep_.evaluate->end(), [](const std::string& word) {
        return word == kReference || word.starts_with(std::string(kReference) + "=");
      });
      const bool is_elsewhere = std::any_of(moved.begin(), moved.end(),
                                            [](const std::string& setting) { return setting.starts_with("data."); });
      if (is_own && is_elsewhere) {
        command.insert(command.end(), {kReference, experiment_file_of(sweep_, cell).string()});
      }
    }
    command.insert(command.end(), settings_.options.begin(), settings_.options.end());
    return std::make_unique<ProcessTeam>(settings_.processes, command, log_of(sweep_, cell), settings_.environment);
  }

  /// Called after the processes of a job have ended: starts the next part of the work and returns whether there was
  /// any.
  bool goes_on(Job& job) {
    const SweepCell& cell = *job.cell;
    if (const std::string problem = job.team->problem(); !problem.empty()) {
      // The status of an evaluation that was stopped is not 0, nor that of a training that was about to begin.
      const bool is_stopped = interrupted() && (job.is_evaluation || job.team->was_stopped());
      if (is_stopped) ++stopped_;
      if (!is_stopped) fail(cell, (job.is_evaluation ? "its evaluation: " : "") + problem);
      return false;
    }
    const CellState state = state_of(sweep_, cell);
    if (state == CellState::trained && !job.is_evaluation && !interrupted()) {
      job.team = team_of(cell, state);
      job.is_evaluation = true;
      return true;
    }
    const bool is_complete = state == CellState::complete || (state == CellState::trained && job.is_evaluation);
    if (!is_complete) {
      ++stopped_;
      // This one run may have been stopped from outside.
      if (!interrupted()) fail(cell, "was stopped before it was complete; `casdm sweep` goes on with it");
      return false;
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - job.start).count();
    succeed(cell, text("is complete, after ", duration(seconds)));
    return false;
  }

  void succeed(const SweepCell& cell, const std::string& how) {
    ++end_.complete;
    done_ += images_of(cell);
    record(cell, "");
    progress_.say(text(cell.name, " ", how));
  }

  void fail(const SweepCell& cell, const std::string& problem) {
    ++end_.failed;
    done_ += images_of(cell);
    progress_.say(text(cell.name, " FAILED: ", printable(problem), "\n  (", log_of(sweep_, cell).string(), ")"));
    record(cell, problem);
  }

  /// If the record cannot be written, only the record is lost: the table then says that the run is not complete.
  void record(const SweepCell& cell, const std::string& problem) {
    try {
      note_end(sweep_, cell, problem);
    } catch (const std::exception& error) {
      progress_.say(text("warning: ", error.what()));
    }
  }

  void stop() {
    is_asked_ = true;
    progress_.say("stopping: every run saves its state; stop again to end them at once");
    for (const Job& job : jobs_) job.team->ask_to_end();
  }

  void look() {
    std::int64_t images = done_;
    for (const Job& job : jobs_) images += images_in_log(run_of(sweep_, *job.cell));
    const std::string one =
        jobs_.empty() ? "" : text(jobs_.front().is_evaluation ? "evaluating " : "", jobs_.front().cell->name);
    // Evaluations follow after the last image.
    if (!jobs_.empty()) images = std::min(images, total_ - 1);
    progress_.update(images, jobs_.size() > 1 ? text(jobs_.size(), " runs at a time") : one);
  }

  const Sweep& sweep_;
  const SweepSettings& settings_;
  std::int64_t total_;  ///< images
  Progress progress_;
  std::vector<const SweepCell*> waiting_;  ///< taken from the back
  std::vector<Job> jobs_;
  std::int64_t done_ = 0;  ///< of the cells that have ended
  std::size_t stopped_ = 0;
  bool is_asked_ = false;
  SweepEnd end_;
};

}  // namespace

SweepEnd run_sweep(const Sweep& sweep, const std::vector<std::size_t>& cells, const SweepSettings& settings) {
  return Runner(sweep, cells, settings).run();
}

}  // namespace casdm
