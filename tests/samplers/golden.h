#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "casdm/safetensors.h"
#include "support/components.h"

namespace casdm::testing {

/// The files of the parity folder whose names begin and end so. In the committed folder there must be
/// one; in a folder chosen by CASDM_PARITY_DIR there may be none, which is said.
inline std::vector<std::filesystem::path> golden_files(const std::string& prefix, const std::string& extension) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(parity_dir())) {
    const std::filesystem::path& path = entry.path();
    if (path.filename().string().starts_with(prefix) && path.extension() == extension) files.push_back(path);
  }
  std::sort(files.begin(), files.end());
  if (files.empty()) {
    MESSAGE("no ", prefix, "*", extension, " in ", parity_dir().string());
    CHECK(std::getenv("CASDM_PARITY_DIR") != nullptr);
  }
  return files;
}

/// A golden file that knows which of its tensors were asked for.
class GoldenFile {
 public:
  explicit GoldenFile(const std::filesystem::path& path)
      : name_(path.filename().string()), file_(read_safetensors(path)) {}

  const Tensor& operator[](const std::string& name) {
    used_.insert(name);
    return file_.at(name);
  }
  bool contains(const std::string& name) const { return file_.contains(name); }
  const NamedTensors& tensors() const { return file_.tensors; }
  const std::string& metadata(const std::string& key) const { return file_.metadata.at(key); }

  /// Compares `ours` with the tensor `name` and keeps the largest difference.
  void compare(const Tensor& ours, const std::string& name, double bound) {
    INFO(name);
    const Tensor& golden = (*this)[name];
    REQUIRE(ours.sizes() == golden.sizes());
    const double difference = max_relative_difference(ours, golden);
    CHECK(difference < bound);
    if (difference >= largest_) {
      largest_ = difference;
      where_ = name;
    }
  }

  /// Says the largest difference, and fails for each tensor named `...suffix` (of `suffixes`) that
  /// nothing was compared with.
  void finish(const std::vector<std::string>& suffixes) const {
    MESSAGE(name_, ": largest relative difference ", largest_, " at ", where_);
    for (const auto& [name, tensor] : file_.tensors) {
      const bool is_ours = std::any_of(suffixes.begin(), suffixes.end(),
                                       [&name = name](const std::string& suffix) { return name.ends_with(suffix); });
      if (is_ours && !used_.contains(name)) FAIL_CHECK("nothing checks ", name, " of ", name_);
    }
  }

 private:
  std::string name_;
  TensorFile file_;
  std::set<std::string> used_;
  double largest_ = 0;
  std::string where_;
};

}  // namespace casdm::testing
