#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>

#include "framework/composition/model.h"

namespace casdm {

struct Packed {
  std::int64_t images = 0;
  std::int64_t left_out = 0;  ///< unreadable
};

/// Writes an experiment's images, as the networks see them, as PNGs into a zip archive with their labels in
/// `dataset.json`, as EDM's tools lay it out.
///
/// Until all are there they are in the folder OUT.part, beside a list of them, so that a packing which was interrupted
/// goes on after the last one. The archive then appears at once.
/// @param progress  is told how many images are done; false: stop here
/// Throws ConfigError when there is something at `out`, or the parts are of other data; Error when an image cannot be
/// read (with data.skip_unreadable it is left out), or writing fails.
/// @return nothing when it was stopped
std::optional<Packed> pack_data(const LoadedExperiment& experiment, const std::filesystem::path& out,
                                const std::function<bool(std::int64_t done, std::int64_t total)>& progress);

}  // namespace casdm
