#include <doctest/doctest.h>
#include <stdlib.h>

#include <map>
#include <string>

#include "casdm/error.h"
#include "distributed/processes.h"
#include "framework/distributed/process_place.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

/// Only these of the variables that launchers set, until the end of the scope.
class Launched {
 public:
  explicit Launched(const Environment& variables) {
    for (const char* name :
         {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "SLURM_PROCID",
          "SLURM_LOCALID", "SLURM_NTASKS", "SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS",
          "SLURM_STEP_TASKS_PER_NODE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
          "OMPI_COMM_WORLD_LOCAL_SIZE", "TORCHELASTIC_USE_AGENT_STORE", "TORCHELASTIC_RESTART_COUNT"}) {
      if (const char* value = ::getenv(name)) before_[name] = value;
      ::unsetenv(name);
    }
    for (const auto& [name, value] : variables) ::setenv(name.c_str(), value.c_str(), 1);
    set_ = variables;
  }
  ~Launched() {
    for (const auto& [name, value] : set_) ::unsetenv(name.c_str());
    for (const auto& [name, value] : before_) ::setenv(name.c_str(), value.c_str(), 1);
  }

 private:
  Environment set_, before_;
};

}  // namespace

TEST_CASE("without a launcher there is one process") {
  const Launched launched({});
  CHECK(process_place().size == 1);
}

TEST_CASE("torchrun sets the process's place, and listens itself") {
  const Launched launched({{"RANK", "3"},
                           {"WORLD_SIZE", "4"},
                           {"LOCAL_RANK", "1"},
                           {"LOCAL_WORLD_SIZE", "2"},
                           {"MASTER_ADDR", "node1"},
                           {"MASTER_PORT", "1234"},
                           {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                           {"TORCHELASTIC_RESTART_COUNT", "2"}});
  const ProcessPlace place = process_place();
  CHECK((place.rank == 3 && place.size == 4 && place.local_rank == 1 && place.local_size == 2));
  CHECK((place.address == "node1" && place.port == 1234 && place.has_server && place.attempt == "2"));
}

TEST_CASE("so do mpirun and srun, and a batch script of Slurm by itself is one process") {
  {
    const Launched launched({{"OMPI_COMM_WORLD_RANK", "1"},
                             {"OMPI_COMM_WORLD_SIZE", "2"},
                             {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                             {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}});
    const ProcessPlace place = process_place();
    CHECK((place.rank == 1 && place.size == 2 && place.local_rank == 1 && place.local_size == 2));
    CHECK(place.address == "127.0.0.1");
  }
  Environment batch{{"SLURM_JOB_ID", "77"},
                    {"SLURM_PROCID", "5"},
                    {"SLURM_LOCALID", "1"},
                    {"SLURM_NTASKS", "8"},
                    {"SLURM_STEP_TASKS_PER_NODE", "4(x2)"},
                    {"MASTER_ADDR", "node1"}};
  {
    const Launched launched(batch);
    CHECK(process_place().size == 1);
  }
  batch.emplace("SLURM_STEP_ID", "0");
  const Launched launched(batch);
  const ProcessPlace place = process_place();
  CHECK((place.rank == 5 && place.size == 8 && place.local_rank == 1 && place.local_size == 4));
}

TEST_CASE("an inconsistent environment is refused with the name of the variable") {
  const auto refused = [](const Environment& variables, const std::string& words) {
    const Launched launched(variables);
    CHECK_THROWS_WITH_AS(process_place(), doctest::Contains(words.c_str()), ConfigError);
  };
  refused({{"RANK", "1"}}, "WORLD_SIZE not set");
  refused({{"WORLD_SIZE", "2"}}, "RANK not set");
  refused({{"RANK", "2"}, {"WORLD_SIZE", "2"}}, "RANK = \"2\"; expected a whole number in 0..1");
  refused({{"RANK", "one"}, {"WORLD_SIZE", "2"}}, "RANK = \"one\"");
  refused({{"RANK", "1"}, {"WORLD_SIZE", "2"}}, "MASTER_ADDR not set");
  refused({{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "99999"}},
          "MASTER_PORT = \"99999\"");
}
