#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "casdm/api.h"
#include "casdm/module.h"

namespace casdm CASDM_API {

/// The content of a safetensors file.
struct TensorFile {
  NamedTensors tensors;                         ///< in the order of their offsets in the file
  std::map<std::string, std::string> metadata;  ///< the header's `__metadata__`

  /// The tensor `name`; throws Error with the nearest names when there is none.
  const Tensor& at(std::string_view name) const;
  bool contains(std::string_view name) const;
};

/// Reads all tensors of `path` to the CPU. Dtypes: F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL.
/// Throws Error naming the file when it is missing, not a regular file, truncated, its header is
/// inconsistent, its tensors overlap, or it has more than 262,144 tensors and metadata entries.
TensorFile read_safetensors(const std::filesystem::path& path);

/// Writes contiguous CPU copies of `tensors` as an AtomicFile. Throws Error, and leaves no file, when writing fails,
/// and when a name comes twice or is `__metadata__`, which the format keeps for itself.
void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata = {});

/// Copies `tensors` into the module's parameters and buffers. Names and shapes must agree
/// exactly: otherwise throws Error listing what is missing, unexpected and of another shape,
/// and nothing is copied. `source` names the origin in the message.
void load_state(const Module& module, const NamedTensors& tensors, std::string_view source);

/// The file `name` of pretrained weights: as given when it is a path to a file, else looked up in
/// the folders of CASDM_WEIGHTS_PATH, then in the cache, where tools/setup.sh puts them:
/// `$CASDM_CACHE/weights`, or where that is not set `$XDG_CACHE_HOME/casdm/weights`, or
/// `~/.cache/casdm/weights`. Throws Error that lists the places and says how to get the file.
std::filesystem::path find_weights(const std::string& name);

}  // namespace casdm
