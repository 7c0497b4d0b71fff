#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "casdm/moments_metric.h"
#include "casdm/value.h"

namespace casdm {

/// Mean and covariance of features, as various programs store them. Other programs do not record which features.
struct Statistics {
  std::vector<std::pair<std::string, Moments>> moments;  ///< by the name of the mean: "mu", "mu_s", "fid.mu"
  bool has_images = false;                               ///< it is an NPZ that also contains arr_0
  Value record;  ///< the record of `write_reference`; null: another program's file
};

/// The member of an NPZ that contains that record.
inline constexpr const char* kReferenceRecord = "reference.json";

/// Whether `path` has the extension of a pickle, or is an NPZ with statistics or without images.
bool is_statistics_file(const std::filesystem::path& path);

/// Reads mean and covariance from the reference batches of guided-diffusion (NPZ: mu, sigma, mu_s, sigma_s, arr_0) and
/// of EDM (NPZ: mu, sigma; or a pickled dict of them, or of dicts of them). Never executes code from the file. Throws
/// Error with the file's name if it is truncated or damaged, contains anything but numbers, or if the numbers cannot be
/// a mean and a covariance: not finite, of shapes that do not match, not symmetric, with a negative variance.
Statistics read_statistics(const std::filesystem::path& path);

}  // namespace casdm
