#include "framework/comparison/pilot.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/document.h"
#include "framework/config/key_path.h"
#include "framework/distributed/process_team.h"
#include "framework/support/files.h"
#include "framework/support/folder_hold.h"
#include "framework/training/signals.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::steady_clock;

constexpr double kLongest = 4;          // seconds of training after the first step
constexpr std::size_t kMostSteps = 60;  // of a pilot: enough for a small network
constexpr double kPatience = 300;       // seconds that the first step may take
constexpr double kTimeToEnd = 60;       // seconds that an orderly end may take
constexpr std::uint64_t kLongestHeader = 64 << 20;

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// The total number of elements in the tensors of a safetensors file; 0 if it cannot be read.
std::int64_t parameters_in(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::uint64_t size = 0;
  for (int i = 0, byte = 0; i < 8 && (byte = stream.get()) >= 0; ++i)
    size |= static_cast<std::uint64_t>(byte) << (8 * i);
  if (!stream || size > kLongestHeader) return 0;
  std::string header(size, '\0');
  if (!stream.read(header.data(), static_cast<std::streamsize>(size))) return 0;
  std::int64_t total = 0;
  const Value tensors = from_json(header);
  for (const auto& [name, entry] : tensors.as_table()) {
    const Value* shape = entry.find("shape");
    if (shape == nullptr) continue;
    std::int64_t count = 1;
    for (const Value& length : shape->as_array()) count *= length.as_integer();
    total += count;
  }
  return total;
}

/// The parameters in the newest checkpoint of a run.
std::int64_t parameters_of(const fs::path& run) {
  std::vector<fs::path> checkpoints;
  std::error_code failure;
  for (fs::directory_iterator entry(run / "checkpoints", failure), end; !failure && entry != end;
       entry.increment(failure)) {
    if (fs::exists(entry->path() / "weights.safetensors")) checkpoints.push_back(entry->path());
  }
  return checkpoints.empty()
             ? 0
             : parameters_in(*std::max_element(checkpoints.begin(), checkpoints.end()) / "weights.safetensors");
}

std::vector<Value> lines_of(const fs::path& run) {
  std::vector<Value> lines;
  read_log(run, [&](const Value& line) { lines.push_back(line); });
  return lines;
}

/// Images per second from the lines of a log; the first line is skipped, as it includes one-time work.
double rate_of(const std::vector<Value>& log) {
  if (log.empty()) return 0;
  const auto images = [](const Value& line) { return line.find("images")->as_number(); };
  const auto seconds = [](const Value& line) {
    const Value* value = line.find("seconds");
    return value == nullptr ? 0 : value->as_number();
  };
  const double time = seconds(log.back()) - seconds(log.front());
  if (time > 0) return (images(log.back()) - images(log.front())) / time;
  return seconds(log.back()) > 0 ? images(log.back()) / seconds(log.back()) : 0;
}

/// Waits for a pilot to finish its steps. Returns the seconds until the first one was done.
double watch(ProcessTeam& training, const fs::path& run) {
  const Clock::time_point start = Clock::now();
  double first = 0;
  while (!training.has_ended() && !interrupted()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    const std::size_t lines = lines_of(run).size();
    if (lines > 0 && first == 0) first = since(start);
    const bool is_enough = first > 0 && (lines >= kMostSteps || (lines >= 3 && since(start) - first > kLongest) ||
                                         since(start) - first > 4 * kLongest);
    if (is_enough || since(start) > kPatience) break;
  }
  const double seconds = first > 0 ? first : since(start);
  training.ask_to_end();
  const Clock::time_point asked = Clock::now();
  while (!training.has_ended() && since(asked) < kTimeToEnd) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  training.kill();
  return seconds;
}

}  // namespace

Pilot pilot_of(const Sweep& sweep, const SweepCell& cell, const SweepSettings& settings) {
  Pilot result;
  if (const fs::path run = run_of(sweep, cell); state_of(sweep, cell) != CellState::waiting) {
    result.images_per_second = rate_of(lines_of(run));
    result.parameters = parameters_of(run);
    if (result.images_per_second > 0) return result;
  }
  const fs::path above = fs::absolute(sweep.folder).parent_path();
  const bool is_above_new = fs::create_directories(above);
  remove_leftovers(above);  // of a sweep that was killed during its pilot
  const fs::path folder = temporary_beside(sweep.folder);
  fs::create_directory(folder);
  const FolderHold hold(folder);
  const fs::path experiment = folder / "experiment.toml";
  write_file(experiment, to_toml(cell.experiment));
  const Value* batch = find_path(cell.experiment, "train.batch_size");
  std::vector<std::string> command{own_program().string(), "train", experiment.string()};
  command.insert(command.end(), settings.options.begin(), settings.options.end());
  std::vector<std::string> own{"run.name=pilot", text("run.directory=", to_toml_value(folder.string())),
                               text("log.every_images=", batch == nullptr ? 1 : batch->as_integer()),
                               "log.sample_count=0", "log.sample_every_images=0"};
  const Value* judged = find_path(cell.experiment, "evaluate.every_images");
  if (judged != nullptr && judged->as_integer() > 0) {  // judges are made, which may fail, and wait for the end
    own.push_back(text("evaluate.every_images=", find_path(cell.experiment, "train.total_images")->as_integer()));
  }
  for (const std::string& setting : own) command.insert(command.end(), {"--set", setting});
  {
    ProcessTeam training(settings.processes, command, folder / "log", settings.environment);
    result.start = watch(training, folder / "pilot");
    if (!interrupted()) result.problem = training.problem();
  }
  result.images_per_second = rate_of(lines_of(folder / "pilot"));
  result.parameters = parameters_of(folder / "pilot");
  std::error_code ignored;
  fs::remove_all(folder, ignored);
  if (is_above_new) fs::remove(above, ignored);  // unless it is in use by now
  return result;
}

}  // namespace casdm
