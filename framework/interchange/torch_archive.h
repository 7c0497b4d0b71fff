#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <string>

#include "sdk/arrays/pickle.h"

namespace casdm {

/// A file of `torch.save`: its pickle is read, its numbers are still on disk.
class TorchArchive {
 public:
  virtual ~TorchArchive() = default;

  virtual std::string format() const = 0;
  virtual const Pickle& pickle() const = 0;

  /// All elements of a storage, one-dimensional. Throws Error (without the file's name) if they cannot be read.
  virtual at::Tensor load(const PickledStorage& storage) = 0;
};

enum class TorchFormat { none, zip, legacy };

/// Decides by the first bytes.
TorchFormat torch_format(const std::filesystem::path& path);

/// The zip archive written since PyTorch 1.6: <root>/data.pkl, <root>/data/<key>, <root>/byteorder.
std::unique_ptr<TorchArchive> open_torch_zip(const std::filesystem::path& path);

/// The format of earlier versions: pickles of a magic number, the protocol, the machine, the object and the storages'
/// keys, then each storage's size and elements.
std::unique_ptr<TorchArchive> open_torch_legacy(const std::filesystem::path& path);

}  // namespace casdm
