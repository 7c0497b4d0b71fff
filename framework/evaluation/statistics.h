#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "casdm/moments_metric.h"
#include "casdm/value.h"

namespace casdm {

/// Mean and covariance of features, as programs keep them. Others than ours do not say whose features.
struct Statistics {
  std::vector<std::pair<std::string, Moments>> moments;  ///< by the name of the mean: "mu", "mu_s", "fid.mu"
  bool has_images = false;                               ///< an NPZ with arr_0 beside them
  Value record;                                          ///< what `write_reference` says of them; null: another program
};

/// The member of an NPZ with that record.
inline constexpr const char* kReferenceRecord = "reference.json";

/// Whether `path` is called like a file of statistics, or is an NPZ that holds some.
bool is_statistics_file(const std::filesystem::path& path);

/// Reads mean and covariance of guided-diffusion's reference batches (NPZ: mu, sigma, mu_s, sigma_s, arr_0), of EDM's
/// (NPZ: mu, sigma; or a pickled dict of them, or of dicts of them). Executes nothing.
/// Throws Error that names the file when it is truncated, damaged, holds anything but numbers, or its numbers are not
/// mean and covariance: not finite, of shapes that do not fit, not symmetric, a negative variance.
Statistics read_statistics(const std::filesystem::path& path);

}  // namespace casdm
