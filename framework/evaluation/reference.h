#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "framework/evaluation/gather.h"

namespace casdm {

/// What images are compared with.
struct Reference {
  std::string name;                  ///< for people: a path
  std::string kind = "data";         ///< or "statistics": a file that holds no images, or not all
  std::int64_t images = 0;           ///< 0: not known, or not the same for all metrics
  std::string sha256;                ///< of the file, or of all that decides what the images are
  SetState state;                    ///< metrics that the reference cannot serve are empty
  std::vector<std::string> remarks;  ///< what a careful reviewer would say of it

  /// How many images each metric is compared with, 0: not known; empty: `images`.
  std::vector<std::int64_t> images_by_metric = {};
  std::int64_t images_of(std::size_t metric) const {
    return images_by_metric.empty() ? images : images_by_metric.at(metric);
  }
};

struct ReferenceOptions {
  std::function<bool()> is_cancelled;
  bool use_cache = true;
};

/// The reference of stored images. Their state is kept in the cache (reference_cache.h), under a name that is a
/// function of the images, the judges and their weights, so that it is computed once.
Reference reference_of_images(const ImageStream& stream, const Judges& judges, const ReferenceOptions& options);

/// The reference of a file: of `write_reference`, or statistics of another program. Their mean and covariance serve the
/// metrics that need no more (MomentsMetric), of the judge that the file names, or else of the one that has as many
/// features; arr_0 serves the others.
/// Throws Error when the file is damaged; ConfigError when it is of other judges or of images of another shape, serves
/// no metric, or does not say which of several judges its statistics are of.
Reference reference_of_file(const std::filesystem::path& path, const Judges& judges, const ReferenceOptions& options);

/// Whether `path` is such a file.
bool is_reference_file(const std::filesystem::path& path);

/// Throws ConfigError when write_reference cannot write `path` of these judges, or would replace what it has not
/// written, so that it is known before the work.
void require_reference_form(const std::filesystem::path& path, const Judges& judges);

/// Writes a reference for later: as safetensors, the states of all judges with what they are of; or as
/// guided-diffusion's NPZ, when `path` ends so: mu and sigma, mu_s and sigma_s where there is a judge with a spatial
/// feature, and arr_0 with at most 10,000 of the images. Throws Error.
/// @param images  for arr_0
void write_reference(const std::filesystem::path& path, const Reference& reference, const Judges& judges,
                     const ImageStream& images);

}  // namespace casdm
