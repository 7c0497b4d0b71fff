#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "casdm/image_shape.h"
#include "framework/composition/model.h"

namespace casdm {

/// Images to be judged, one after another.
struct ImageStream {
  std::string name;        ///< for people: a path
  std::int64_t count = 0;  ///< of images
  ImageShape shape;
  Value identity;  ///< a table of all that decides what images they are
  /// Images first..first+n-1: [n, C, H, W] on the CPU, uint8, or float32 in [-1, 1].
  std::function<at::Tensor(std::int64_t first, std::int64_t n)> read;
  /// Where images are drawn: called with how many are, while `read` draws more; may be null.
  std::shared_ptr<std::function<void(std::int64_t)>> on_drawn;
  bool reads_ahead = false;  ///< `read` may be called from another thread while images are judged
};

/// Images that lie somewhere: of a data set, as its experiment prepares them, or of an NPZ.
class StoredImages {
 public:
  virtual ~StoredImages() = default;
  virtual std::int64_t size() const = 0;
  virtual ImageShape shape() const = 0;
  virtual Value identity() const = 0;  ///< of all images: where they lie, and the bytes of some of them

  /// One image, [C, H, W] on the CPU. One thread calls it at a time, and mostly for growing indices.
  virtual at::Tensor read(std::int64_t index) = 0;
};

/// The images of a data set, cropped and resized as for training, without flips or augmentation.
std::shared_ptr<StoredImages> images_of_data(const DataOptions& options, std::shared_ptr<Dataset> dataset);

/// The same of the table [data]. `base` gives the plugins, and what [plugins] says of them.
std::shared_ptr<StoredImages> images_of_table(const Value& data, const LoadedExperiment& base);

/// The images of an NPZ's arr_0.
std::shared_ptr<StoredImages> images_of_npz(const std::filesystem::path& path);

/// The [data] table that reads the folder or archive `path`: of the data sets whose only required option is `path`, the
/// one whose example of a path has its ending (of a folder: none). Throws ConfigError when there is none.
Value data_table_for(const std::filesystem::path& path, const ComponentCatalog& catalog);

/// Whether `path` is a run or one of its checkpoints.
bool is_of_training(const std::filesystem::path& path);

/// Whether `path` holds images of any size, which must be made ones of some shape.
bool is_of_any_size(const std::filesystem::path& path);

/// The images at `path`: a folder or archive, an NPZ, a folder of `casdm sample`, or the [data] of an experiment file.
/// Throws ConfigError when they are of another shape than `shape`, or need one and there is none.
std::shared_ptr<StoredImages> images_at(const std::filesystem::path& path, const std::optional<ImageShape>& shape,
                                        const LoadedExperiment& base);

/// `images` of the name `name`, which must have the shape `shape`. Throws ConfigError.
void require_shape(const StoredImages& images, const ImageShape& shape, const std::string& name);

/// `count` of `total` indices, evenly spread; all of them for 0. Throws ConfigError when there are fewer.
/// @param what  "--num", for the message
std::vector<std::int64_t> spread(std::int64_t count, std::int64_t total, const std::string& what,
                                 const std::string& name);

/// The images of some ascending indices as a stream.
ImageStream stream_of(std::shared_ptr<StoredImages> images, std::vector<std::int64_t> indices, std::string name);

/// Two halves of the images, of equal size, drawn at random: a function of `seed` alone.
std::array<std::vector<std::int64_t>, 2> halves(std::int64_t total, std::uint64_t seed);

}  // namespace casdm
