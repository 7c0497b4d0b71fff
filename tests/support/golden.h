#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "casdm/safetensors.h"
#include "support/components.h"

/// Golden outputs of public peers (tests/parity/README.md), and the record of how far ours differ from them.
namespace casdm::testing {

/// What is compared: a row of docs/parity.md.
struct Quantity {
  std::string component;  ///< "ddpm"
  std::string name;       ///< "mean of p_mean_variance"
  std::string peer;       ///< "guided-diffusion"
  double bound = 1e-5;    ///< on the relative difference; 0: equal
};

/// Prints a measured difference, checks it against the bound, and keeps the largest of each quantity. At the end of the
/// program the rows are written, one JSON object per line, to <program>.jsonl in the folder CASDM_PARITY_REPORT, or
/// else, when the references are the committed ones, in the build's.
/// @param version   of the peer
/// @param place     what was compared: "metrics.safetensors: ssim.piq.32"
/// @param rounding  the peer's own distance from its formula, added to the bound
void measured(const Quantity& quantity, const std::string& version, const std::string& place, double difference,
              double rounding = 0);

/// The files of the parity folder whose names begin and end like this. In the committed folder there must be exactly
/// one; in a folder chosen by CASDM_PARITY_DIR there may be none, which is reported.
std::vector<std::filesystem::path> golden_files(const std::string& prefix, const std::string& extension);

/// `peer`'s version according to a golden's metadata ("peers": {"piq": "0.8.0"}) or, if it has none, that of the
/// committed files.
std::string peer_version(const std::map<std::string, std::string>& metadata, const std::string& peer);

/// A golden file that records which of its tensors were used.
class GoldenFile {
 public:
  explicit GoldenFile(const std::filesystem::path& path)
      : name_(path.filename().string()), file_(read_safetensors(path)) {}

  const Tensor& operator[](const std::string& name) {
    used_.insert(name);
    return file_.at(name);
  }
  bool contains(const std::string& name) const { return file_.contains(name); }
  const std::string& name() const { return name_; }
  const NamedTensors& tensors() const { return file_.tensors; }

  /// Fails the test if there is no such entry.
  const std::string& metadata(const std::string& key) const;
  std::string version(const std::string& peer) const { return peer_version(file_.metadata, peer); }

  /// Compares `ours` with the tensor `name`; `rounding` as in `measured`.
  void compare(const Tensor& ours, const std::string& name, const Quantity& quantity, double rounding = 0);

  /// Fails for each tensor named `...suffix` (for any of `suffixes`) that was not used.
  void finish(const std::vector<std::string>& suffixes) const;

 private:
  std::string name_;
  TensorFile file_;
  std::set<std::string> used_;
};

}  // namespace casdm::testing
