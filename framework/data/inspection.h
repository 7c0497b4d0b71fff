#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "casdm/value.h"
#include "framework/composition/model.h"

namespace casdm {

/// What was found in an experiment's images.
struct Inspection {
  std::string summary;      ///< "12 images, 3 classes; ...", as printed by a training
  std::int64_t images = 0;  ///< of the data set
  bool is_floating_point = false;
  bool has_extras = false;
  std::int64_t looked_at = 0;
  std::map<std::pair<std::int64_t, std::int64_t>, std::int64_t> sizes = {};  ///< width and height as stored
  std::vector<std::int64_t> classes = {};                                    ///< images of each
  std::map<std::int64_t, std::string> unreadable = {};                       ///< messages, by index
  std::map<std::string, std::int64_t> remarks = {};                          ///< "have an orientation ..."
  std::vector<Image> grid = {};  ///< some images, spread evenly, as the networks see them
};

/// Reads the images of the experiment's data set with data.workers threads: all, or `most` of them, spread evenly.
/// @param prepared  the experiment's data set
/// @param in_grid   number of images to keep for the grid
/// @param progress  called with the number of images read
/// An unreadable image is only recorded.
Inspection inspect_data(const LoadedExperiment& experiment, const std::shared_ptr<Dataset>& prepared,
                        std::optional<std::int64_t> most, std::int64_t in_grid,
                        const std::function<void(std::int64_t)>& progress);

/// For people, as lines; and for programs.
std::string describe(const Inspection& inspection, const Experiment& experiment);
Value to_value(const Inspection& inspection, const Experiment& experiment);

}  // namespace casdm
