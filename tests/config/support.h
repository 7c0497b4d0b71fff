#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "casdm/error.h"
#include "framework/config/resolve.h"
#include "support/messages.h"

/// Shared by the tests of the configuration; does not need LibTorch.
namespace casdm::testing {

/// A folder that is the working directory while the object lives, and is removed with it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

  /// Writes a file, creating its folders if necessary; returns its absolute path.
  std::filesystem::path write(const std::string& name, const std::string& content) const;

 private:
  std::filesystem::path path_;
  std::filesystem::path previous_;
};

/// One component, "loop" of the plugin "loop_fake", of any kind that is asked for, with these options.
class LoopCatalog final : public ComponentCatalog {
 public:
  explicit LoopCatalog(OptionSchema options) : entry_{"", "loop", "The loop.", 1, std::move(options), nullptr} {}

  const ComponentEntry& component(std::string_view, const std::string&) const override { return entry_; }
  std::string full_name(std::string_view, const std::string&) const override { return "loop_fake/loop"; }
  std::vector<std::string> names(std::string_view) const override { return {"loop"}; }

 private:
  ComponentEntry entry_;
};

/// Components that exist only as schemas: backbone unet; cascade_head cascade (weights, theta);
/// metric_loss l1, lpips, sum (parts: nested metrics), colliding (an option named like a host's);
/// dataset zip and shapes; noise_scheduler linear; sampler ddim; optimizer adamw
/// (betas, eps) and sgd (momentum); each in a plugin "<kind>_fake".
const ComponentCatalog& fake_catalog();

/// The smallest document that resolves with `fake_catalog` as an experiment.
extern const char* const kSmallExperiment;

/// It with `more`, resolved; messages call it "x".
Value small_experiment(const std::string& more);

}  // namespace casdm::testing
