#include "support/components.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <stdlib.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "casdm/random.h"
#include "framework/config/document.h"
#include "framework/config/resolve.h"
#include "framework/loading/plugin_host.h"

namespace casdm::testing {

namespace fs = std::filesystem;

namespace {

const PluginHost& host() {
  static const PluginHost host = [] {
    SearchPaths search;
    search.files = {CASDM_PLUGIN_DIR};
    return PluginHost(PluginCatalog::discover(search));
  }();
  return host;
}

Tensor uniform_values(std::uint64_t s, std::int64_t count) {
  Tensor values = at::empty({count}, at::kFloat);
  float* data = values.data_ptr<float>();
  for (std::int64_t i = 0; i < count; ++i) {
    data[i] = static_cast<float>(splitmix64((s << 32) + static_cast<std::uint64_t>(i)) >> 40) * 0x1.0p-24F;
  }
  return values;
}

}  // namespace

const ComponentFactory& factory() { return host(); }

ComponentConfig component(std::string_view kind, const std::string& toml) {
  const Value table = resolve_component(parse_document(toml, "test", fs::current_path()), kind, host().catalog());
  return {table.find("type")->as_string(), table};
}

std::shared_ptr<BetaSchedule> make_beta_schedule(const std::string& type, const std::string& toml_options,
                                                 const NoiseScheduler::Spec& spec) {
  return std::dynamic_pointer_cast<BetaSchedule>(make<NoiseScheduler>(type, toml_options, spec));
}

Tensor gather(const std::vector<double>& table, const Tensor& t, const Tensor& like) {
  return per_image(TimeTable(table)(t), like);
}

fs::path source_dir() {
  const char* chosen = std::getenv("CASDM_SOURCE_DIR");
  return chosen != nullptr ? chosen : CASDM_SOURCE_DIR;
}

fs::path parity_dir() {
  const char* chosen = std::getenv("CASDM_PARITY_DIR");
  return chosen != nullptr ? fs::path(chosen) : source_dir() / "tests" / "parity" / "references";
}

std::optional<fs::path> shared_dir() {
  const fs::path folder = source_dir().parent_path() / "shared";
  if (!fs::is_directory(folder)) return std::nullopt;
  return folder;
}

double max_relative_difference(const Tensor& a, const Tensor& b) {
  const Tensor difference = (a.to(at::kDouble) - b.to(at::kDouble)).abs();
  if (!difference.isfinite().all().item<bool>()) return std::numeric_limits<double>::infinity();
  const double scale = b.to(at::kDouble).abs().max().item<double>();
  const double largest = difference.max().item<double>();
  return scale > 0 ? largest / scale : largest;
}

Tensor fill(std::uint64_t s, at::IntArrayRef shape) {
  return (uniform_values(s, c10::multiply_integers(shape)) * 2 - 1).reshape(shape);
}

void fill_state(const NamedTensors& state) {
  NamedTensors sorted = state;
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  at::NoGradGuard no_grad;
  for (std::size_t k = 0; k < sorted.size(); ++k) {
    auto& [name, tensor] = sorted[k];
    Tensor values = fill(k + 1, tensor.sizes());
    if (tensor.dim() >= 2) {
      values = values * std::sqrt(3.0 * static_cast<double>(tensor.size(0)) / static_cast<double>(tensor.numel()));
    } else {
      values = values * 0.1;
      if (name.ends_with("weight")) values = values + 1;
    }
    tensor.copy_(values);
  }
}

TemporaryFolder::TemporaryFolder() {
  std::string name = (fs::temp_directory_path() / "casdm-test-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder: " + name);
  path_ = fs::canonical(name);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::map<std::string, Tensor> by_name(const NamedTensors& tensors) { return {tensors.begin(), tensors.end()}; }

std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace casdm::testing
