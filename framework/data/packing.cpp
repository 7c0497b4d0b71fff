#include "framework/data/packing.h"

#include <fcntl.h>
#include <unistd.h>
#include <zip.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/prepare_image.h"
#include "casdm/text.h"
#include "framework/data/fingerprint.h"
#include "framework/reporting/image_files.h"
#include "framework/support/files.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMostRecord = 1 << 20;
constexpr std::int64_t kLeftOut = -2;  // instead of a label

/// "00012/img00012345.png", as EDM's tools name files.
std::string name_of(std::int64_t index) {
  std::string number = std::to_string(index);
  if (number.size() < 8) number.insert(0, 8 - number.size(), '0');
  return text(number.substr(0, number.size() - 3), "/img", number, ".png");
}

/// The images packed so far and their labels, one line with index and label each, in order.
class PackedParts {
 public:
  PackedParts(fs::path folder, const DataFingerprint& data) : folder_(std::move(folder)) {
    const fs::path about = folder_ / "data.json";
    if (fs::exists(folder_)) {
      require_parts_of(about, data);
      read_list();
    } else {
      fs::create_directory(folder_);
      write_file(about, to_json(to_value(data)));
    }
    list_.open(folder_ / "list.txt", std::ios::app);
  }

  const std::vector<std::int64_t>& labels() const { return labels_; }
  const fs::path& folder() const { return folder_; }
  fs::path path_of(std::int64_t index) const { return folder_ / name_of(index); }

  /// @param image  nothing: the image is left out
  void add(const std::optional<Image>& image, std::int64_t label) {
    const std::int64_t index = std::ssize(labels_);
    if (image) {
      fs::create_directories(path_of(index).parent_path());
      write_png(path_of(index), *image);
    }
    list_ << index << ' ' << label << '\n' << std::flush;
    if (!list_) throw Error(text((folder_ / "list.txt").string(), " cannot be written"));
    labels_.push_back(label);
  }

 private:
  /// An image that could not be read then but can be read now does not count as a difference.
  void require_parts_of(const fs::path& about, const DataFingerprint& data) const {
    std::string why = "it holds no data.json";
    if (fs::exists(about)) why = difference(fingerprint_from(from_json(read_regular_file(about, kMostRecord))), data);
    if (why.empty()) return;
    throw ConfigError(text(folder_.string(), " does not hold parts of these images at this size (", why,
                           "); remove it, or choose another --out"));
  }

  /// A last line without a line break was not finished, so its image is packed again.
  void read_list() {
    const fs::path path = folder_ / "list.txt";
    std::ifstream file(path);
    std::uintmax_t whole = 0;
    for (std::string line; std::getline(file, line) && !file.eof();) {
      long long index = 0, label = 0;
      if (std::sscanf(line.c_str(), "%lld %lld", &index, &label) != 2 || index != std::ssize(labels_)) break;
      labels_.push_back(label);
      whole += line.size() + 1;
    }
    file.close();
    if (fs::exists(path)) fs::resize_file(path, whole);
  }

  fs::path folder_;
  std::ofstream list_;
  std::vector<std::int64_t> labels_;
};

std::string labels_json(const std::vector<std::int64_t>& labels, bool has_labels) {
  if (!has_labels) return "{\"labels\": null}";
  Value::Array pairs;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] == kLeftOut) continue;
    pairs.push_back(Value::Array{Value(name_of(static_cast<std::int64_t>(i))), Value(labels[i])});
  }
  Value value{Value::Table{}};
  value.set("labels", std::move(pairs));
  return to_json(value);
}

/// Makes the archive from the parts. It gets its name when it is complete.
void write_archive(const PackedParts& parts, const fs::path& out, bool has_labels) {
  int code = 0;
  zip_t* archive = zip_open(out.c_str(), ZIP_CREATE | ZIP_EXCL, &code);
  const auto fail = [&](const char* reason) { throw Error(text(out.string(), " cannot be written: ", reason)); };
  if (archive == nullptr) {
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string reason = zip_error_strerror(&error);
    zip_error_fini(&error);
    fail(reason.c_str());
  }
  std::unique_ptr<zip_t, void (*)(zip_t*)> opened(archive, zip_discard);
  const auto add = [&](const std::string& name, zip_source_t* source) {
    const zip_int64_t entry = source != nullptr ? zip_file_add(archive, name.c_str(), source, ZIP_FL_ENC_UTF_8) : -1;
    if (entry < 0) fail(zip_strerror(archive));
    const auto place = static_cast<zip_uint64_t>(entry);
    zip_set_file_compression(archive, place, ZIP_CM_STORE, 0);  // PNGs are compressed already
    zip_file_set_dostime(archive, place, 0, 0x21, 0);           // the same images give the same bytes
  };
  const std::string json = labels_json(parts.labels(), has_labels);
  add("dataset.json", zip_source_buffer(archive, json.data(), json.size(), 0));
  for (std::int64_t i = 0; i < std::ssize(parts.labels()); ++i) {
    if (parts.labels()[static_cast<std::size_t>(i)] == kLeftOut) continue;
    add(name_of(i), zip_source_file(archive, parts.path_of(i).c_str(), 0, -1));
  }
  if (zip_close(archive) != 0) fail(zip_strerror(archive));
  opened.release();
}

/// Makes the file that libzip wrote and renamed survive a power failure.
void make_durable(const fs::path& file) {
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  const bool is_durable = descriptor >= 0 && ::fsync(descriptor) == 0;
  const int reason = errno;
  if (descriptor >= 0) ::close(descriptor);
  if (!is_durable) throw Error(text(file.string(), " cannot be made durable: ", std::strerror(reason)));
  sync_folder(fs::absolute(file).parent_path());
}

}  // namespace

std::optional<Packed> pack_data(const LoadedExperiment& experiment, const fs::path& out,
                                const std::function<bool(std::int64_t, std::int64_t)>& progress) {
  const DataOptions& data = experiment.options.data;
  if (fs::exists(fs::symlink_status(out))) {
    throw ConfigError(text("data pack: ", out.string(), " is there already, and nothing is overwritten"));
  }
  const std::shared_ptr<Dataset> dataset = make_dataset(experiment);
  if (dataset->is_floating_point() || !dataset->extras().empty()) {
    throw ConfigError("data pack: these images are not 8-bit, or have extras, for which a zip of PNGs has no place");
  }
  fs::path folder = out;
  folder += ".part";
  DataOptions packed_data = data;
  packed_data.use_labels = dataset->num_classes() > 0;  // they are packed even if this experiment does not use them
  PackedParts parts(folder, fingerprint(*dataset, packed_data));
  const std::int64_t total = dataset->size();
  for (std::int64_t i = std::ssize(parts.labels()); i < total; ++i) {
    if (!progress(i, total)) return std::nullopt;
    std::optional<Image> image;
    std::int64_t label = kLeftOut;
    try {
      const Example example = dataset->get(i);
      image = prepare_image(example.image, {ImageShape::square(data.channels, data.image_size)});
      label = example.label;
    } catch (const PluginError&) {
      throw;
    } catch (const Error&) {
      if (!data.skip_unreadable) throw;
    }
    parts.add(image, label);
  }
  progress(total, total);
  Packed packed;
  for (const std::int64_t label : parts.labels()) ++(label == kLeftOut ? packed.left_out : packed.images);
  if (packed.images == 0) throw Error("data pack: no image can be read");
  write_archive(parts, out, dataset->num_classes() > 0);
  make_durable(out);
  fs::remove_all(folder);
  return packed;
}

}  // namespace casdm
