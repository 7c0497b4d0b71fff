#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "casdm/beta_schedule.h"
#include "casdm/component.h"
#include "casdm/module.h"

/// Shared by tests of components: real plugins, created as the host does, and the reference data.
namespace casdm::testing {

/// The host's factory with the plugins of this build.
const ComponentFactory& factory();

/// The component that `toml` ("type = \"unet\"\nchannels = 32") chooses, validated and with defaults filled in.
ComponentConfig component(std::string_view kind, const std::string& toml);

/// Creates a component from the plugins of this build.
template <class K>
std::shared_ptr<K> make(const std::string& type, const std::string& toml_options, const typename K::Spec& spec) {
  return factory().make<K>(component(K::kind, "type = \"" + type + "\"\n" + toml_options), spec);
}

/// A schedule of this build that is defined by betas.
std::shared_ptr<BetaSchedule> make_beta_schedule(const std::string& type, const std::string& toml_options,
                                                 const NoiseScheduler::Spec& spec = {});

/// `table` at `t` [B], shaped to multiply `like`.
Tensor gather(const std::vector<double>& table, const Tensor& t, const Tensor& like);

/// The root of the source tree.
std::filesystem::path source_dir();

/// Golden outputs of public peers: CASDM_PARITY_DIR, or tests/parity/references.
std::filesystem::path parity_dir();

/// The developers' folder of data sets, if there is one.
std::optional<std::filesystem::path> shared_dir();

/// max|a - b| / max|b| in double precision; infinite if a contains anything not finite that b does not.
double max_relative_difference(const Tensor& a, const Tensor& b);

/// Deterministic values in [-1, 1) from splitmix64 of (s * 2^32 + i), row-major, float32.
Tensor fill(std::uint64_t s, at::IntArrayRef shape);

/// The deterministic state the golden networks were run with: keys sorted bytewise, key k filled
/// from seed k+1; matrices and kernels scaled by sqrt(3 shape[0] / numel), vectors 1 + .1u when
/// named "...weight" and .1u otherwise. In place.
void fill_state(const NamedTensors& state);

std::map<std::string, Tensor> by_name(const NamedTensors& tensors);

/// A folder that is removed with the object.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// The names of what a folder holds, sorted.
std::vector<std::string> names_in(const std::filesystem::path& folder);

}  // namespace casdm::testing
