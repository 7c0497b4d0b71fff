#include "framework/training/ema_snapshots.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <charconv>
#include <tuple>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/support/checked_tensors.h"
#include "framework/training/pretrained.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kSnapshotSuffix = ".safetensors";

std::string snapshot_name(std::int64_t images, double sigma_rel) {
  std::string count = std::to_string(images);
  count.insert(0, 12 - std::min<std::size_t>(12, count.size()), '0');
  return text(count, "-", number(sigma_rel), kSnapshotSuffix);
}

template <class T>
bool read_number(std::string_view digits, T& value) {
  const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return failure == std::errc() && end == digits.data() + digits.size();
}

/// Whether the name has the form of `snapshot_name`.
bool read_name(const std::string& name, EmaSnapshot& snapshot) {
  const std::size_t dash = name.find('-');
  if (dash == std::string::npos || !name.ends_with(kSnapshotSuffix)) return false;
  const std::string_view digits(name);
  return read_number(digits.substr(0, dash), snapshot.images) &&
         read_number(digits.substr(dash + 1, name.size() - kSnapshotSuffix.size() - dash - 1), snapshot.sigma_rel) &&
         snapshot.images > 0 && snapshot.sigma_rel >= kSmallestSigmaRel && snapshot.sigma_rel <= kLargestSigmaRel &&
         name == snapshot_name(snapshot.images, snapshot.sigma_rel);
}

using Metadata = std::map<std::string, std::string>;

constexpr const char* kImages = "images";
constexpr const char* kWidth = "sigma_rel";

std::string entry_in(const Metadata& metadata, const char* key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? "" : found->second;
}

/// Throws Error unless the file still has the content written under its name. Snapshots of version 0.1 have no
/// metadata.
TensorFile read_snapshot(const EmaSnapshot& snapshot) {
  TensorFile file = read_checked_tensors(snapshot.path);
  const bool is_as_named = entry_in(file.metadata, kImages) == std::to_string(snapshot.images) &&
                           entry_in(file.metadata, kWidth) == number(snapshot.sigma_rel);
  if (file.metadata.empty() || (is_as_named && file.metadata.contains("sha256"))) return file;
  throw Error(text(snapshot.path.string(), " is altered: it does not record the images and the width of its name"));
}

/// Throws Error if the snapshots are of two runs, as far as their seeds tell.
/// @param seed  of the snapshots before; set to that of `file` if none of them records one
void check_run(const fs::path& path, const TensorFile& file, std::string& seed) {
  const std::string own = entry_in(file.metadata, kSeedOfRun);
  if (seed.empty()) seed = own;
  if (own.empty() || own == seed) return;
  throw Error(text(path.string(), " is a snapshot of another run: its run.seed is ", printable(own),
                   ", and that of the snapshots before it ", printable(seed), "; move those of one run elsewhere"));
}

/// Adds coefficient * content to the sums of floating-point tensors.
void add(NamedTensors& sums, const NamedTensors& content, double coefficient, const fs::path& file) {
  const bool is_first = sums.empty();
  if (!is_first && sums.size() != content.size()) {
    throw Error(text(file.string(), " holds ", content.size(), " tensors, the snapshots before it ", sums.size()));
  }
  for (std::size_t i = 0; i < content.size(); ++i) {
    const auto& [name, tensor] = content[i];
    const bool is_averaged = at::isFloatingType(tensor.scalar_type());
    const Tensor part = is_averaged ? tensor.to(at::kDouble) * coefficient : tensor;
    if (is_first) {
      sums.emplace_back(name, part);
      continue;
    }
    auto& [expected, sum] = sums[i];
    if (name != expected || tensor.sizes() != sum.sizes()) {
      throw Error(text(file.string(), " holds ", name, " ", tensor.sizes(), ", the snapshots before it ", expected, " ",
                       sum.sizes(), " in its place"));
    }
    sum = is_averaged ? sum + part : part;
  }
}

}  // namespace

std::vector<SnapshotContent> snapshots_of(const std::vector<ModuleState>& modules, std::int64_t images) {
  std::vector<SnapshotContent> result;
  const std::vector<AverageRule>& rules = modules.front().rules();
  for (std::size_t i = 0; i < rules.size(); ++i) {
    if (rules[i].sigma_rel()) result.push_back({images, *rules[i].sigma_rel(), average_of(modules, i)});
  }
  return result;
}

void save_ema_snapshots(const RunFolder& run, const std::vector<SnapshotContent>& snapshots) {
  run.require_in_place();
  std::error_code failure;
  if (!snapshots.empty()) fs::create_directories(run.ema(), failure);
  if (failure) throw Error(text(run.ema().string(), " cannot be created: ", failure.message()));
  for (const auto& [images, sigma_rel, tensors, trained] : snapshots) {
    Metadata metadata = trained;
    metadata[kImages] = std::to_string(images);
    metadata[kWidth] = number(sigma_rel);
    write_checked_tensors(run.ema() / snapshot_name(images, sigma_rel), tensors, std::move(metadata));
  }
}

void send_ema_snapshots(const std::vector<ModuleState>& modules) {
  const std::vector<AverageRule>& rules = modules.front().rules();
  for (std::size_t i = 0; i < rules.size(); ++i) {
    if (rules[i].sigma_rel()) average_of(modules, i);
  }
}

std::vector<EmaSnapshot> ema_snapshots(const RunFolder& run) {
  std::vector<EmaSnapshot> result;
  if (!fs::is_directory(run.ema())) return result;
  for (const auto& entry : fs::directory_iterator(run.ema())) {
    EmaSnapshot snapshot{entry.path()};
    if (entry.is_regular_file() && read_name(entry.path().filename().string(), snapshot))
      result.push_back(std::move(snapshot));
  }
  std::sort(result.begin(), result.end(), [](const EmaSnapshot& a, const EmaSnapshot& b) {
    return std::tie(a.images, a.sigma_rel) < std::tie(b.images, b.sigma_rel);
  });
  return result;
}

Reconstruction reconstruct_ema(const std::vector<EmaSnapshot>& snapshots, double sigma_rel, std::int64_t images) {
  std::vector<PowerProfile> profiles;
  for (const EmaSnapshot& snapshot : snapshots) {
    profiles.push_back({gamma_of(snapshot.sigma_rel), static_cast<double>(snapshot.images)});
  }
  const Combination combination = combine(profiles, {gamma_of(sigma_rel), static_cast<double>(images)});
  Reconstruction result;
  result.error = combination.error;
  std::vector<at::ScalarType> types;
  std::string seed;
  bool has_checked = false;
  for (std::size_t i = 0; i < snapshots.size(); ++i) {
    const TensorFile file = read_snapshot(snapshots[i]);
    if (!file.metadata.empty()) {
      has_checked = true;
    } else if (has_checked) {
      throw Error(text(snapshots[i].path.string(), " is altered: it records nothing, unlike earlier ones of the run"));
    } else {
      ++result.unchecked;
    }
    check_run(snapshots[i].path, file, seed);
    add(result.tensors, file.tensors, combination.coefficients[i], snapshots[i].path);
    types.clear();
    for (const auto& [name, tensor] : file.tensors) types.push_back(tensor.scalar_type());
  }
  for (std::size_t i = 0; i < types.size(); ++i) {
    auto& [name, tensor] = result.tensors[i];
    tensor = tensor.to(types[i]);
    if (at::isFloatingType(types[i]) && !tensor.isfinite().all().item<bool>()) {
      throw Error(text("the combination of the snapshots has values in ", name,
                       " that are not finite: one of the snapshots has, or the sum is too large for ",
                       at::toString(types[i])));
    }
  }
  return result;
}

}  // namespace casdm
