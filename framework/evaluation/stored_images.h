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
#include "framework/data/seen_images.h"
#include "framework/training/signals.h"

namespace casdm {

/// A sequence of images to be judged.
struct ImageStream {
  std::string name;        ///< for people: a path
  std::int64_t count = 0;  ///< of images
  ImageShape shape;
  Value identity;  ///< a table of everything that decides the images
  /// Reads images first..first+n-1: [n, C, H, W] on the CPU, uint8, or float32 in [-1, 1].
  std::function<at::Tensor(std::int64_t first, std::int64_t n)> read;
  /// If images are drawn: called with the number drawn so far while `read` draws more; may be null.
  std::shared_ptr<std::function<void(std::int64_t)>> on_drawn;
  bool reads_ahead = false;  ///< `read` may be called from another thread while earlier images are judged
};

/// Stored images: of a data set, as its experiment prepares them, or of an NPZ.
class StoredImages {
 public:
  virtual ~StoredImages() = default;
  virtual std::int64_t size() const = 0;
  virtual ImageShape shape() const = 0;
  virtual Value identity() const = 0;               ///< of all images: where they are, and the bytes of some of them
  virtual SeenImages places() const { return {}; }  ///< of its data set, unreadable ones included; none for an NPZ

  /// The number of an image in its data set, which counts those that cannot be read, too.
  virtual std::int64_t number_in_data(std::int64_t index) const { return index; }

  /// One image, [C, H, W] on the CPU. Only one thread calls it at a time, mostly with increasing indices.
  virtual at::Tensor read(std::int64_t index) = 0;
};

/// Whether both seem to hold the same images in one order, wherever they are: as many, and equal bytes of some of them.
bool are_same(StoredImages& a, StoredImages& b);

/// Of how many images the bytes are part of the identity of a data set; 0: it is not one, and all bytes are.
std::int64_t images_in_identity(const Value& identity);

/// A data set and the options that it is read with.
struct DataSource {
  DataOptions options;
  std::shared_ptr<Dataset> dataset;
};

/// The data set of a [data] table; its labels need not exist. `base` provides the plugins and the table [plugins].
DataSource source_of_table(const Value& data, const LoadedExperiment& base);

/// The images of a data set, cropped and resized as for training, without flips or augmentation. With skip_unreadable
/// it reads all of them, to know which ones can be read; throws EvaluationStopped if that is cancelled.
std::shared_ptr<StoredImages> images_of_data(const DataOptions& options, std::shared_ptr<Dataset> dataset,
                                             const std::function<bool()>& is_cancelled = interrupted);

/// The same for a [data] table; see source_of_table.
std::shared_ptr<StoredImages> images_of_table(const Value& data, const LoadedExperiment& base);

/// The images of an NPZ's arr_0.
std::shared_ptr<StoredImages> images_of_npz(const std::filesystem::path& path);

/// A [data] table that reads the folder or archive `path`: among the data sets whose only required option is `path`,
/// the one whose example has the same extension (none for a folder). Throws ConfigError if there is none.
Value data_table_for(const std::filesystem::path& path, const ComponentCatalog& catalog);

/// Whether `path` is a run or one of its checkpoints.
bool is_of_training(const std::filesystem::path& path);

/// Whether `path` contains images of arbitrary size, which must be brought to a common shape.
bool is_of_any_size(const std::filesystem::path& path);

/// The images at `path`: a folder or archive, an NPZ, a folder of `casdm sample`, or the [data] of an experiment file.
/// Throws ConfigError if they have a shape other than `shape`, or if they need one and none is given.
std::shared_ptr<StoredImages> images_at(const std::filesystem::path& path, const std::optional<ImageShape>& shape,
                                        const LoadedExperiment& base);

/// Throws ConfigError unless `images`, called `name`, have the shape `shape`.
void require_shape(const StoredImages& images, const ImageShape& shape, const std::string& name);

/// `count` of `total` indices, evenly spread; 0: all of them. Throws ConfigError if there are fewer.
/// @param what  "--num", for the message
std::vector<std::int64_t> spread(std::int64_t count, std::int64_t total, const std::string& what,
                                 const std::string& name);

/// number_in_data of each.
std::vector<std::int64_t> numbers_in_data(const StoredImages& images, std::vector<std::int64_t> indices);

/// The images at some ascending indices, as a stream.
ImageStream stream_of(std::shared_ptr<StoredImages> images, std::vector<std::int64_t> indices, std::string name);

/// Two random halves of the images, of equal size: a function of `seed` alone.
std::array<std::vector<std::int64_t>, 2> halves(std::int64_t total, std::uint64_t seed);

}  // namespace casdm
