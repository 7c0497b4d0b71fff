#include "framework/distributed/process_place.h"

#include <charconv>
#include <cstdlib>
#include <limits>
#include <optional>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace {

constexpr int kMostProcesses = 1 << 20;

std::string variable(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? "" : value;
}

std::optional<int> number_at(const std::string& digits) {
  int number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return error == std::errc() && end == digits.data() + digits.size() ? std::optional(number) : std::nullopt;
}

/// The whole number in low..high that the variable contains.
int number_in(const std::string& name, int low, int high) {
  const std::string digits = variable(name);
  const std::optional<int> number = number_at(digits);
  if (number && *number >= low && *number <= high) return *number;
  throw ConfigError(text("the environment has ", name, digits.empty() ? " not set" : " = " + quoted(digits),
                         "; expected a whole number in ", low, "..", high));
}

int number_in(const std::string& name, int low, int high, int otherwise) {
  return variable(name).empty() ? otherwise : number_in(name, low, high);
}

/// The variables that a launcher sets.
struct Names {
  std::string rank, size, local_rank, local_size;
};

ProcessPlace place_by(const Names& names) {
  ProcessPlace place;
  place.size = number_in(names.size, 1, kMostProcesses);
  place.rank = number_in(names.rank, 0, place.size - 1);
  place.local_rank = number_in(names.local_rank, 0, place.rank, 0);
  place.local_size = number_in(names.local_size, 1, place.size, 1);
  return place;
}

/// Whether srun has started this task: a batch script itself has most of the variables, too.
bool is_task_of_slurm() {
  return !variable("SLURM_PROCID").empty() && (variable("SLURM_JOB_ID").empty() || !variable("SLURM_STEP_ID").empty());
}

/// "4(x2),1" is the number of tasks per machine: on this one 4, as far as is known.
int tasks_beside(int size) {
  const std::string tasks = variable("SLURM_STEP_TASKS_PER_NODE");
  const int first = number_at(tasks.substr(0, tasks.find_first_of("(,"))).value_or(1);
  return first >= 1 && first <= size ? first : 1;
}

std::optional<ProcessPlace> place_by_launcher() {
  if (!variable("RANK").empty() || !variable("WORLD_SIZE").empty()) {
    return place_by({"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"});
  }
  if (!variable("OMPI_COMM_WORLD_RANK").empty()) {
    return place_by(
        {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"});
  }
  if (!is_task_of_slurm()) return std::nullopt;
  const std::string size = variable("SLURM_STEP_NUM_TASKS").empty() ? "SLURM_NTASKS" : "SLURM_STEP_NUM_TASKS";
  ProcessPlace place = place_by({"SLURM_PROCID", size, "SLURM_LOCALID", ""});
  place.local_size = tasks_beside(place.size);
  return place;
}

}  // namespace

ProcessPlace process_place() {
  std::optional<ProcessPlace> place = place_by_launcher();
  if (!place) {
    ProcessPlace alone;
    alone.local_rank = number_in("LOCAL_RANK", 0, kMostProcesses, 0);
    return alone;
  }
  if (place->size == 1) return *place;
  place->address = variable("MASTER_ADDR");
  if (place->address.empty() && place->local_size == place->size) place->address = "127.0.0.1";
  if (place->address.empty()) {
    throw ConfigError(text("this is rank ", place->rank, " of ", place->size,
                           ", and the environment has MASTER_ADDR not set: expected the name or address of the machine "
                           "of rank 0. In a job of Slurm: export MASTER_ADDR=$(scontrol show hostnames "
                           "\"$SLURM_JOB_NODELIST\" | head -n 1)"));
  }
  place->port =
      static_cast<std::uint16_t>(number_in("MASTER_PORT", 1, std::numeric_limits<std::uint16_t>::max(), place->port));
  place->has_server = variable("TORCHELASTIC_USE_AGENT_STORE") == "True";
  if (const std::string attempt = variable("TORCHELASTIC_RESTART_COUNT"); !attempt.empty()) place->attempt = attempt;
  return *place;
}

}  // namespace casdm
