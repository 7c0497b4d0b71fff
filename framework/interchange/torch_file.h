#pragma once

#include <filesystem>
#include <string>

#include "casdm/module.h"

namespace casdm {

/// A state_dict out of a file of PyTorch's `torch.save`.
struct TorchState {
  NamedTensors tensors;  ///< on the CPU, in the file's order; may share storages and be strided
  std::string format;    ///< "PyTorch zip" or "PyTorch legacy (before 1.6)"
  std::string key;       ///< where in the file: "" for the whole, else "model", "ema.network"
};

/// Whether `path` begins as a file of `torch.save`, of either format.
bool is_torch_file(const std::filesystem::path& path);

/// Reads the dict of tensors `key` of a file of `torch.save`, executing nothing: see pickle.h. Without a key, the file
/// must be such a dict or hold exactly one.
/// Throws Error naming the file when it is truncated, damaged, of a big-endian machine, a TorchScript archive, or its
/// pickle names anything but tensors and plain containers; and, with what there is to choose from, when `key` does
/// not lead to tensors.
TorchState read_torch_state(const std::filesystem::path& path, const std::string& key = "");

}  // namespace casdm
