#pragma once

#include <filesystem>
#include <string>

#include "casdm/safetensors.h"

namespace casdm::feature_extractors {

/// A file of trained weights.
struct WeightFile {
  std::filesystem::path path;
  TensorFile content;
  std::string sha256;  ///< of the file
};

/// Reads the file `name`, which find_weights looks up. If there is none, throws Error that says how to make it with
/// `tools/convert_weights.py COMMAND`.
WeightFile read_weights(const std::string& name, const std::string& command);

}  // namespace casdm::feature_extractors
