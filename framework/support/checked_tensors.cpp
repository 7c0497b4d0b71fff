#include "framework/support/checked_tensors.h"

#include <ATen/ATen.h>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/support/sha256.h"

namespace casdm {

namespace {

constexpr const char* kSum = "sha256";

/// Each part is preceded by its length, so that different contents never give the same text.
std::string sum_of(const NamedTensors& tensors, const std::map<std::string, std::string>& metadata) {
  Sha256 hash;
  const auto add = [&](std::string_view part) {
    hash.update(text(part.size(), ':'));
    hash.update(part);
  };
  for (const auto& [key, value] : metadata) {
    if (key == kSum) continue;
    add(key);
    add(value);
  }
  // Sorted by name: tensors without elements share a position in a file, so the file does not order them.
  const std::map<std::string, Tensor> sorted(tensors.begin(), tensors.end());
  for (const auto& [name, tensor] : sorted) {
    const Tensor flat = tensor.detach().to(at::kCPU).contiguous();
    add(name);
    add(text(at::toString(flat.scalar_type()), flat.sizes()));
    add({static_cast<const char*>(flat.data_ptr()), flat.nbytes()});
  }
  return hash.hexadecimal();
}

}  // namespace

void write_checked_tensors(const std::filesystem::path& path, const NamedTensors& tensors,
                           std::map<std::string, std::string> metadata) {
  metadata[kSum] = sum_of(tensors, metadata);
  write_safetensors(path, tensors, metadata);
}

TensorFile read_checked_tensors(const std::filesystem::path& path) {
  TensorFile file = read_safetensors(path);
  const auto sum = file.metadata.find(kSum);
  if (sum == file.metadata.end() || sum->second == sum_of(file.tensors, file.metadata)) return file;
  throw Error(text(path.string(),
                   " is altered: its SHA-256 is not the one it records. If the change is yours, write the file ",
                   "without 'sha256' in its metadata"));
}

}  // namespace casdm
