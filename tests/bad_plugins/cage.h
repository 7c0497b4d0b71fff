#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "integration/program.h"
#include "support/components.h"

namespace casdm::testing {

void replace_all(std::string& text, const std::string& from, const std::string& to);

std::string stamp_value(std::string_view stamp, const std::string& field);

/// The host's LibTorch version with another minor number of the same length.
std::string other_libtorch();

/// One case: a folder with an experiment that uses the metric "zoo", found in plugins/.
class Cage {
 public:
  Cage();

  const std::filesystem::path& path() const { return folder_.path(); }
  std::filesystem::path plugin() const { return path() / "plugins" / "zoo.so"; }

  /// Copies the plugin there, with `from` in its bytes replaced by `to` of the same length.
  void admit(const std::string& from = "", const std::string& to = "") const;

  /// @param wish  what the plugin does: see tests/plugins/metric_zoo
  Outcome run(const std::string& command, const std::string& wish = "") const;

  /// `text` with everything replaced that differs between machines and runs.
  std::string settled(std::string text) const;

 private:
  TemporaryFolder folder_;
};

/// The command must fail with this status and print exactly golden/<name>.txt to stderr. CASDM_UPDATE_GOLDEN=1 rewrites
/// these texts, to be read before they are committed.
void says(const Cage& cage, const std::string& name, int status, const std::string& command,
          const std::string& wish = "");

inline const std::string kTrain = "casdm train small.toml --set train.total_images=4";

}  // namespace casdm::testing
