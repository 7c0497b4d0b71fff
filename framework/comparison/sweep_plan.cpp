#include "framework/comparison/sweep_plan.h"

#include <algorithm>
#include <set>

#include "casdm/text.h"
#include "framework/comparison/run_record.h"
#include "framework/config/key_path.h"
#include "framework/support/number_format.h"
#include "framework/support/text_table.h"

namespace casdm {

namespace {

std::string counted(std::size_t count, const char* one, const char* more) {
  return text(count, " ", count == 1 ? one : more);
}

std::string short_number(std::int64_t value) { return short_count(static_cast<double>(value)); }

}  // namespace

double SweepPlan::seconds(std::int64_t jobs) const {
  double total = 0;
  for (const Arm& arm : arms) {
    if (arm.to_train == 0 || !arm.pilot.problem.empty()) continue;
    if (arm.pilot.images_per_second <= 0) return 0;
    total += static_cast<double>(arm.to_train) * arm.pilot.start +
             static_cast<double>(arm.images_left) / arm.pilot.images_per_second;
  }
  return total / static_cast<double>(jobs);
}

SweepPlan plan_of(const Sweep& sweep, const std::function<Pilot(const SweepCell&)>& pilot) {
  SweepPlan plan;
  plan.arms.resize(sweep.points.size());
  for (const SweepCell& cell : sweep.cells) {
    SweepPlan::Arm& arm = plan.arms[cell.point];
    arm.images = find_path(cell.experiment, "train.total_images")->as_integer();
    const CellState state = state_of(sweep, cell);
    ++arm.runs;
    if (state == CellState::complete) ++arm.complete;
    if (state == CellState::waiting || state == CellState::started) {
      ++arm.to_train;
      arm.images_left += std::max<std::int64_t>(0, arm.images - images_in_log(run_of(sweep, cell)));
    }
  }
  for (std::size_t i = 0; i < plan.arms.size(); ++i) {
    const auto cell = std::find_if(sweep.cells.begin(), sweep.cells.end(), [&](const SweepCell& c) {
      const CellState state = state_of(sweep, c);
      return c.point == i && (state == CellState::waiting || state == CellState::started);
    });
    if (cell != sweep.cells.end()) plan.arms[i].pilot = pilot(*cell);
  }
  return plan;
}

std::string text_of(const Sweep& sweep, const SweepPlan& plan, std::int64_t jobs) {
  std::vector<std::vector<std::string>> rows{
      {"arm", "runs", "complete", "images", "parameters", "images/s", "each run"}};
  std::set<std::size_t> baselines;
  std::string problems;
  std::size_t left = 0;
  for (std::size_t i = 0; i < plan.arms.size(); ++i) {
    const auto& [runs, complete, to_train, images, images_left, pilot] = plan.arms[i];
    const double rate = pilot.images_per_second;
    const std::string each = rate > 0 ? duration(pilot.start + static_cast<double>(images) / rate) : "";
    baselines.insert(sweep.points[i].baseline);
    left += runs - complete;
    rows.push_back({sweep.points[i].name + (sweep.points[i].baseline == i ? " (baseline)" : ""), std::to_string(runs),
                    std::to_string(complete), short_number(images),
                    pilot.parameters > 0 ? short_number(pilot.parameters) : "", rate > 0 ? short_count(rate) : "",
                    each});
    if (!pilot.problem.empty())
      problems += text("\n", sweep.points[i].name, " cannot be trained: ", pilot.problem, "\n");
  }
  std::string result = text("sweep ", sweep.name, ": ", counted(sweep.points.size(), "arm", "arms"), ", ",
                            counted(sweep.cells.size(), "run", "runs"), " in ", sweep.folder.string(), "\n\n",
                            text_table(rows, 2), problems, "\n");
  if (left == 0) return result + "every run is complete\n";
  const double seconds = plan.seconds(jobs);
  result += text(counted(left, "run", "runs"), " to do");
  if (seconds > 0) {
    result += text(": about ", duration(seconds), " of training", jobs > 1 ? text(" with ", jobs, " at a time") : "",
                   ", and the time for grids of samples and evaluations");
  }
  return result + "\n";
}

}  // namespace casdm
