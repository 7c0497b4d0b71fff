#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>

#include "framework/composition/model.h"

namespace casdm {

struct Packed {
  std::int64_t images = 0;
  std::int64_t left_out = 0;            ///< unreadable
  std::int64_t classes = 0;             ///< of the data set
  std::int64_t classes_in_archive = 0;  ///< up to the last with an image, since an archive has no others
};

/// Writes an experiment's images, as the networks see them, as PNGs into a zip archive with their labels in
/// `dataset.json`, in the layout of EDM's tools.
///
/// Until the archive is complete, everything is kept in the folder OUT.part, with a list, so that an interrupted
/// packing can continue after the last image. The archive then appears in one step.
/// @param progress  called with the number of images done; returns false to stop
/// Throws ConfigError if `out` exists, or if the parts are from other data or were read with other options of the data
/// set; Error if another process is packing the same, an image cannot be read (with data.skip_unreadable it is left
/// out) or writing fails.
/// @return nothing if it was stopped
std::optional<Packed> pack_data(const LoadedExperiment& experiment, const std::filesystem::path& out,
                                const std::function<bool(std::int64_t done, std::int64_t total)>& progress);

/// Removes what is left of a packing that was killed after its archive `out` had appeared.
void remove_parts_of_finished(const std::filesystem::path& out);

}  // namespace casdm
