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
  std::string kind = "data";         ///< or "statistics": a file without images, or without all of them
  std::int64_t images = 0;           ///< 0: unknown, or not the same for all metrics
  std::string sha256;                ///< of the file, or of everything that decides the images
  std::int64_t identified_by = 0;    ///< of how many images the bytes are part of `sha256`; 0: of all
  SetState state;                    ///< empty for metrics that the reference has no state for
  std::vector<std::string> remarks;  ///< what a careful reviewer would remark

  /// How many images each metric is compared with, 0: unknown; empty: `images` for all.
  std::vector<std::int64_t> images_by_metric = {};
  std::int64_t images_of(std::size_t metric) const {
    return images_by_metric.empty() ? images : images_by_metric.at(metric);
  }
};

struct ReferenceOptions {
  std::function<bool()> is_cancelled;
  bool use_cache = true;
  bool reads_again = false;  ///< even if the cache has the state, which is then replaced
};

/// The reference made of stored images. Their state is kept in the cache (reference_cache.h), under a name that is a
/// function of the images, the judges and their weights, so it is computed only once.
Reference reference_of_images(const ImageStream& stream, const Judges& judges, const ReferenceOptions& options);

/// The reference in a file: one of `write_reference`, or statistics of another program. Mean and covariance serve the
/// metrics that need no more (MomentsMetric), for the judge that the file names, or else for the one with the same
/// number of features; arr_0 serves the other metrics. Throws Error if the file is damaged; ConfigError if it is for
/// other judges or for images of another shape, serves no metric, or does not say which of several judges its
/// statistics belong to.
Reference reference_of_file(const std::filesystem::path& path, const Judges& judges, const ReferenceOptions& options);

/// Whether `path` is such a file.
bool is_reference_file(const std::filesystem::path& path);

}  // namespace casdm
