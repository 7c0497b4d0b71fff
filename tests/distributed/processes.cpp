#include "distributed/processes.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <sstream>
#include <thread>

#include "casdm/text.h"
#include "framework/distributed/process_team.h"

namespace casdm::testing {

namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

std::vector<Environment> environments(int size, const Environment& more) {
  const std::string port = std::to_string(free_port());
  std::vector<Environment> result;
  for (int rank = 0; rank < size; ++rank) {
    result.push_back({{"RANK", std::to_string(rank)},
                      {"LOCAL_RANK", std::to_string(rank)},
                      {"WORLD_SIZE", std::to_string(size)},
                      {"LOCAL_WORLD_SIZE", std::to_string(size)},
                      {"MASTER_ADDR", "127.0.0.1"},
                      {"MASTER_PORT", port}});
    result.back().insert(more.begin(), more.end());
  }
  return result;
}

Processes::Processes(const fs::path& folder, const std::vector<std::string>& arguments,
                     const std::vector<Environment>& environments, const std::vector<std::string>& prefixes,
                     const std::string& command)
    : folder_(folder) {
  for (std::size_t i = 0; i < environments.size(); ++i) {
    const std::string& own = arguments.size() == 1 ? arguments.front() : arguments.at(i);
    const std::string line = text("cd '", folder.string(), "' && echo $$ > pid.", i, " && exec ",
                                  prefixes.empty() ? "" : prefixes.at(i), "'" CASDM_PROGRAM "' ", command, ' ', own);
    programs_.push_back(std::make_unique<ChildProgram>(std::vector<std::string>{"/bin/sh", "-c", line},
                                                       folder / text("log.", i), environments[i]));
  }
}

void Processes::signal(int rank, int number) const {
  REQUIRE(::kill(std::stoi(read_file(folder_ / text("pid.", rank))), number) == 0);
}

bool Processes::wait_for(int rank, const std::string& words) {
  const auto& program = programs_.at(static_cast<std::size_t>(rank));
  for (const auto end = Clock::now() + std::chrono::seconds(60); Clock::now() < end;) {
    const bool has_ended = program->has_ended();
    if (program->output().find(words) != std::string::npos) return true;
    if (has_ended) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

void Processes::wait(double seconds) {
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  const auto all_ended = [&] {
    return std::count_if(programs_.begin(), programs_.end(), [](const auto& p) { return p->has_ended(); }) ==
           static_cast<std::ptrdiff_t>(programs_.size());
  };
  while (!all_ended() && Clock::now() < end) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  CHECK_MESSAGE(all_ended(), "after ", seconds, " s: ", output());
  for (const auto& program : programs_) program->kill();
  while (!all_ended()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

std::string Processes::output() const {
  std::string result;
  for (const auto& program : programs_) result += program->output();
  return result;
}

std::vector<std::string> Processes::messages() const {
  std::vector<std::string> result;
  std::istringstream lines(output());
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("casdm: ")) result.push_back(line);
  }
  return result;
}

void write_experiment(const fs::path& folder, const std::string& more) {
  const std::string unet =
      "type = \"unet\"\nchannels = 8\nchannel_mult = [1, 2]\nnum_res_blocks = 1\nattention_resolutions = []\ngroups = "
      "4\ndropout = 0.2\n";
  write_file(folder / "small.toml", R"([run]
name = "run"
device = "cpu"
threads = 1
[data]
type = "shapes"
image_size = 16
random_flip = true
use_labels = true
label_dropout = 0.2
workers = 1
[noise]
type = "linear"
num_train_timesteps = 50
[sampler]
type = "ddim"
num_inference_steps = 2
[train]
batch_size = 8
total_images = 48
[log]
every_images = 8
sample_count = 0
[checkpoint]
every_images = 24
[head]
type = "cascade"
[head.theta]
)" + unet + "[head.phi]\n" + unet + more);
}

}  // namespace casdm::testing
