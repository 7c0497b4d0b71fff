#pragma once

#include <filesystem>
#include <string>

#include "casdm/module.h"

namespace casdm {

/// A state_dict from a file of PyTorch's `torch.save`.
struct TorchState {
  NamedTensors tensors;  ///< on the CPU, in the file's order; may share storages and be strided
  std::string format;    ///< "PyTorch zip" or "PyTorch legacy (before 1.6)"
  std::string key;       ///< its position in the file: "" for the whole file, else "model", "ema.network"
};

/// Whether `path` begins like a file of `torch.save`, in either format.
bool is_torch_file(const std::filesystem::path& path);

/// Reads the dict of tensors `key` from a file of `torch.save` without executing anything: see pickle.h. Without a key,
/// the file must be such a dict or contain exactly one. Throws Error with the file's name if it is truncated, damaged,
/// from a big-endian machine or a TorchScript archive, or if its pickle refers to anything but tensors and plain
/// containers; ConfigError that lists the keys which lead to tensors if `key` does not.
TorchState read_torch_state(const std::filesystem::path& path, const std::string& key = "");

}  // namespace casdm
