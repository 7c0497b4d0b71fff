#include "framework/evaluation/stored_images.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <iostream>
#include <set>
#include <thread>

#include "casdm/error.h"
#include "casdm/random.h"
#include "casdm/text.h"
#include "framework/config/document.h"
#include "framework/config/example.h"
#include "framework/config/merge.h"
#include "framework/data/data_reading.h"
#include "framework/data/fingerprint.h"
#include "framework/data/image_reader.h"
#include "framework/data/image_transform.h"
#include "framework/evaluation/gather.h"
#include "framework/evaluation/kept_samples.h"
#include "framework/loading/lock.h"
#include "framework/reporting/image_files.h"
#include "framework/reporting/progress.h"
#include "framework/sampling/sampling_record.h"
#include "framework/support/files.h"
#include "framework/support/sha256.h"
#include "sdk/arrays/npz_reader.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kProbed = 64;  // images whose bytes contribute to an identity

/// SHA-256 of some images, evenly spread.
std::string probe(StoredImages& images) {
  Sha256 hash;
  const std::int64_t count = std::min(kProbed, images.size());
  for (std::int64_t i = 0; i < count; ++i) {
    const at::Tensor image = images.read(i * images.size() / count).contiguous();
    hash.update({static_cast<const char*>(image.data_ptr()), image.nbytes()});
  }
  return hash.hexadecimal();
}

/// Floating-point pixels as 8 bits, truncated as samples are: scores would else contain the difference. Pixels that
/// were 8 bits before remain what they were, although float32 may have put them just below.
at::Tensor as_samples(const at::Tensor& image) {
  constexpr double kFloatError = 1e-3;  // of 255
  return to_uint8(image + kFloatError / 127.5);
}

class DataImages final : public StoredImages {
 public:
  DataImages(const DataOptions& options, std::shared_ptr<Dataset> dataset, const std::function<bool()>& is_cancelled)
      : options_(once_read(options)), dataset_(std::move(dataset)), reader_(dataset_, options_) {
    if (options.skip_unreadable) find_readable(is_cancelled);
    identity_ = Value(Value::Table{{"data", reading_of(options_)},
                                   {"fingerprint", to_value(fingerprint(*dataset_, options_))},
                                   {"probe", probe(*this)}});
    if (dataset_->is_floating_point()) identity_.set("truncated", "8 bit");
    if (dataset_->size() > size()) identity_.set("left_out", dataset_->size() - size());
  }

  std::int64_t size() const override { return readable_ ? std::ssize(*readable_) : dataset_->size(); }
  ImageShape shape() const override { return ImageShape::square(options_.channels, options_.image_size); }
  Value identity() const override { return identity_; }
  SeenImages places() const override {
    return seen_images(dataset_->size(), [this](std::int64_t index) { return dataset_->describe(index); });
  }

  std::int64_t number_in_data(std::int64_t index) const override {
    return readable_ ? readable_->at(static_cast<std::size_t>(index)) : index;
  }

  at::Tensor read(std::int64_t index) override {
    const PreparedImage image = reader_.read(number_in_data(index));
    const bool is_float = dataset_->is_floating_point();
    at::Tensor result =
        at::empty({options_.channels, options_.image_size, options_.image_size}, is_float ? at::kFloat : at::kByte);
    std::memcpy(result.data_ptr(), image.pixels.data(), result.nbytes());
    return is_float ? as_samples(result) : result;
  }

 private:
  static DataOptions once_read(DataOptions options) {
    options.cache = CacheMode::never;
    options.use_labels = false;
    options.skip_unreadable = false;  // in training another image takes the place, which here would count twice
    return options;
  }

  /// Reads all images once, and leaves out those that cannot be read.
  void find_readable(const std::function<bool()>& is_cancelled) {
    readable_.emplace();
    std::string first;
    Progress progress("looking for images that cannot be read", dataset_->size(), "images");
    for (std::int64_t i = 0; i < dataset_->size(); ++i) {
      if (is_cancelled()) throw EvaluationStopped("interrupted while looking for images that cannot be read");
      progress.update(i);
      try {
        reader_.read(i);
        readable_->push_back(i);
      } catch (const PluginError&) {
        throw;
      } catch (const Error& error) {
        const std::string name = dataset_->describe(i), why = error.what();
        if (first.empty()) first = why.find(name) != std::string::npos ? why : text(name, ": ", why);
      }
    }
    if (readable_->empty() && !first.empty()) throw Error("none of the images can be read: " + first);
    if (first.empty()) return readable_.reset();
    std::cerr << "warning: left out " << dataset_->size() - size() << " of " << dataset_->size()
              << " images that cannot be read, as data.skip_unreadable says; the first: " << printable(first) << '\n';
  }

  DataOptions options_;
  std::shared_ptr<Dataset> dataset_;
  ImageReader reader_;
  std::optional<std::vector<std::int64_t>> readable_;  ///< the indices of the others; none: all can be read
  Value identity_;
};

class ArchiveImages final : public StoredImages {
 public:
  explicit ArchiveImages(const fs::path& path) : images_(path) {
    identity_ = Value(Value::Table{{"npz", sha256_of_file(path)}});
  }
  std::int64_t size() const override { return images_.size(); }
  ImageShape shape() const override { return ImageShape::square(images_.channels(), images_.image_size()); }
  Value identity() const override { return identity_; }
  at::Tensor read(std::int64_t index) override { return images_.read(index); }

 private:
  NpzImages images_;
  Value identity_;
};

/// The component's `path` option if it is the only required one, else null.
const OptionSpec* only_path(const ComponentEntry& component) {
  const OptionSpec* path = nullptr;
  for (const OptionSpec& option : component.options) {
    if (option.name == "path" && option.is_required) path = &option;
    if (option.name != "path" && option.is_required) return nullptr;
  }
  return path;
}

std::string ending_of(const std::string& path) { return fs::path(path).extension().string(); }

/// Throws ConfigError if a folder with a sampling holds other images, too: then nobody knows which are meant.
void require_only_samples(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string(), stem = entry.path().stem().string();
    const std::string ending = ending_of(name);
    const bool is_sample =
        name == "grid.png" || (ending == ".png" && stem.find_first_not_of("0123456789") == stem.npos);
    const bool is_image = ending == ".png" || ending == ".jpg" || ending == ".jpeg" || ending == ".webp";
    if (is_sample || !is_image) continue;
    throw ConfigError(text("evaluate: ", folder.string(), " holds a sampling and other images, such as ", quoted(name),
                           "; give ", (folder / kSamplesFile).string(),
                           " for the samples, or move the images to a folder ", "of their own"));
  }
}

}  // namespace

bool are_same(StoredImages& a, StoredImages& b) {
  return a.size() == b.size() && a.shape() == b.shape() && probe(a) == probe(b);
}

std::int64_t images_in_identity(const Value& identity) {
  const Value* data = identity.find("fingerprint");
  return data == nullptr ? 0 : std::min(kProbed, fingerprint_from(*data).count);
}

std::shared_ptr<StoredImages> images_of_data(const DataOptions& options, std::shared_ptr<Dataset> dataset,
                                             const std::function<bool()>& is_cancelled) {
  return std::make_shared<DataImages>(options, std::move(dataset), is_cancelled);
}

DataSource source_of_table(const Value& data, const LoadedExperiment& base) {
  Value document{Value::Table{}};
  document.set_location(data.location());
  document.set("data", data);
  if (const Value* plugins = base.resolved.find("plugins")) document.set("plugins", *plugins);
  OptionSchema schema = host_schema();
  std::erase_if(schema, [](const OptionSpec& option) { return option.name != "data" && option.name != "plugins"; });
  LoadedExperiment experiment;
  experiment.host = base.host;
  experiment.resolved = resolve(document, schema, base.host->catalog());
  check_lock(experiment.resolved, lock_in(experiment.resolved), base.host->catalog());
  experiment.options = read_options<Experiment>(experiment.resolved);
  DataOptions options = experiment.options.data;
  experiment.options.data.use_labels = false;
  return {std::move(options), make_dataset(experiment)};
}

std::shared_ptr<StoredImages> images_of_table(const Value& data, const LoadedExperiment& base) {
  DataSource source = source_of_table(data, base);
  return images_of_data(source.options, std::move(source.dataset));
}

void require_shape(const StoredImages& images, const ImageShape& shape, const std::string& name) {
  const ImageShape own = images.shape();
  if (own == shape) return;
  throw ConfigError(text("evaluate: the images of ", name, " have ", own.height, " px and ", own.channels,
                         " channels; the others have ", shape.height, " px and ", shape.channels,
                         ". Only images of one shape can be compared"));
}

bool is_of_training(const fs::path& path) {
  return is_there(path / "state.json") || (is_there(path / "config.toml") && is_there(path / "checkpoints"));
}

bool is_of_any_size(const fs::path& path) {
  return path.extension() != ".npz" && path.extension() != ".toml" && !is_there(path / kSamplingRecord);
}

std::shared_ptr<StoredImages> images_at(const fs::path& path, const std::optional<ImageShape>& shape,
                                        const LoadedExperiment& base) {
  if (is_of_training(path)) {
    throw ConfigError(text("evaluate: ", path.string(),
                           " is a run, which holds only grids of samples. Give real images, or draw some: casdm "
                           "sample ",
                           path.string(), " --num N --out DIR"));
  }
  std::shared_ptr<StoredImages> images;
  if (path.extension() == ".npz") {
    images = images_of_npz(path);
  } else if (path.extension() == ".toml") {
    const Value document = load_document(path);
    const Value* data = document.find("data");
    if (data == nullptr) throw ConfigError(text("evaluate: ", path.string(), " has no [data]"));
    images = images_of_table(*data, base);
  } else if (is_there(path / kSamplingRecord)) {
    require_kept_samples(path);
    require_only_samples(path);
    images = images_of_npz(path / kSamplesFile);
  } else {
    if (const fs::path grid = path / "grid.png"; is_png_of_ours(grid)) {
      throw ConfigError(text("evaluate: ", grid.string(),
                             " is a grid of samples that casdm drew, and would be judged as an image; move it away"));
    }
    Value table = data_table_for(path, base.host->catalog());
    if (!shape) {
      throw ConfigError(text("evaluate: --size is missing for the images of ", path.string(),
                             ": a side in pixels; they are cropped to their central square and resized to it"));
    }
    table.set("image_size", shape->height);
    table.set("channels", shape->channels);
    images = images_of_table(table, base);
  }
  if (shape) require_shape(*images, *shape, path.string());
  return images;
}

std::shared_ptr<StoredImages> images_of_npz(const fs::path& path) { return std::make_shared<ArchiveImages>(path); }

Value data_table_for(const fs::path& path, const ComponentCatalog& catalog) {
  std::error_code failure;
  const bool is_folder = fs::is_directory(path, failure);
  if (!fs::exists(path, failure)) {
    const std::string near = near_path(path);
    throw ConfigError(
        text(quoted(path.string()), " does not exist", near.empty() ? "" : text("; did you mean ", quoted(near), "?")));
  }
  std::set<std::string> endings;
  std::string chosen;
  for (const std::string& name : catalog.names(Dataset::kind)) {
    const ComponentEntry& component = catalog.component(Dataset::kind, name);
    const OptionSpec* option = only_path(component);
    if (option == nullptr || option->examples.empty() || !option->examples.front().is_string()) continue;
    const std::string ending = ending_of(option->examples.front().as_string());
    endings.insert(ending.empty() ? "a folder" : ending);
    if (ending != (is_folder ? "" : ending_of(path.string()))) continue;
    if (chosen.empty() || component.is_recommended) chosen = name;
  }
  if (chosen.empty()) {
    throw ConfigError(text(quoted(path.string()), ": no data set found reads ",
                           is_folder ? "folders" : "files of this ending", " by themselves (there is one for ",
                           join({endings.begin(), endings.end()}, ", "),
                           "). Give an experiment file whose [data] reads it"));
  }
  Value table{Value::Table{}};
  table.set("type", chosen);
  table.set("path", fs::absolute(path).lexically_normal().string());
  return table;
}

std::vector<std::int64_t> spread(std::int64_t count, std::int64_t total, const std::string& what,
                                 const std::string& name) {
  if (count > total) {
    throw ConfigError(text(what, " = ", count, ": ", name, " holds ", total, " images"));
  }
  if (count == 0) count = total;
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto wide = static_cast<__int128>(i) * total / count;
    indices.push_back(static_cast<std::int64_t>(wide));
  }
  return indices;
}

std::vector<std::int64_t> numbers_in_data(const StoredImages& images, std::vector<std::int64_t> indices) {
  for (std::int64_t& index : indices) index = images.number_in_data(index);
  return indices;
}

ImageStream stream_of(std::shared_ptr<StoredImages> images, std::vector<std::int64_t> indices, std::string name) {
  ImageStream stream;
  stream.name = std::move(name);
  stream.count = static_cast<std::int64_t>(indices.size());
  stream.shape = images->shape();
  stream.identity = images->identity();
  Sha256 chosen;
  chosen.update({reinterpret_cast<const char*>(indices.data()), indices.size() * sizeof(std::int64_t)});
  stream.identity.set("chosen", chosen.hexadecimal());
  stream.reads_ahead = true;
  stream.read = [images = std::move(images), indices = std::move(indices)](std::int64_t first, std::int64_t n) {
    std::vector<at::Tensor> read;
    for (std::int64_t i = first; i < first + n; ++i)
      read.push_back(images->read(indices.at(static_cast<std::size_t>(i))));
    return at::stack(read);
  };
  return stream;
}

std::array<std::vector<std::int64_t>, 2> halves(std::int64_t total, std::uint64_t seed) {
  const std::vector<std::int64_t> order = permutation(total, derive_seed(seed, "halves"));
  const auto half = static_cast<std::ptrdiff_t>(total / 2);
  std::array<std::vector<std::int64_t>, 2> result = {
      std::vector<std::int64_t>(order.begin(), order.begin() + half),
      std::vector<std::int64_t>(order.begin() + half, order.begin() + 2 * half)};
  for (std::vector<std::int64_t>& indices : result) std::sort(indices.begin(), indices.end());
  return result;
}

}  // namespace casdm
