#pragma once

#include <cstdint>
#include <string>

namespace casdm {

/// Which of the processes that were started together this one is.
struct ProcessPlace {
  int rank = 0;
  int size = 1;
  int local_rank = 0;  ///< among those on this machine
  int local_size = 1;
  std::string address;         ///< of the machine of rank 0
  std::uint16_t port = 29500;  ///< where they meet there
  bool has_server = false;     ///< whether the launcher listens there itself, as torchrun does
  std::string attempt = "0";   ///< of the launcher, which may start all of them again
};

/// What the environment says: `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `LOCAL_WORLD_SIZE`, `MASTER_ADDR` and `MASTER_PORT`
/// as torchrun sets them; else `OMPI_COMM_WORLD_*` of mpirun, or `SLURM_PROCID`, `SLURM_LOCALID` and `SLURM_NTASKS` of
/// srun, with `MASTER_ADDR` beside them where the processes are not all on one machine. Without any of it, one process.
/// Throws ConfigError when something is missing, no number, or out of range.
ProcessPlace process_place();

}  // namespace casdm
