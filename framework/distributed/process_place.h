#pragma once

#include <cstdint>
#include <string>

namespace casdm {

/// Which of the processes started together this one is.
struct ProcessPlace {
  int rank = 0;
  int size = 1;
  int local_rank = 0;  ///< among those on this machine
  int local_size = 1;
  std::string address;         ///< of the machine of rank 0
  std::uint16_t port = 29500;  ///< on which they meet there
  bool has_server = false;     ///< whether the launcher itself listens there, as torchrun does
  std::string attempt = "0";   ///< counted by the launcher, which may restart all of them
};

/// As given by the environment: `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `LOCAL_WORLD_SIZE`, `MASTER_ADDR` and `MASTER_PORT`
/// of torchrun; else `OMPI_COMM_WORLD_*` of mpirun, or `SLURM_PROCID`, `SLURM_LOCALID` and `SLURM_NTASKS` of srun, with
/// `MASTER_ADDR` if the processes are not all on one machine. Without any of these, one process. Throws ConfigError if
/// a variable is missing, not a number or out of range.
ProcessPlace process_place();

}  // namespace casdm
