#include "framework/data/packing.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>
#include <zip.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/prepare_image.h"
#include "casdm/text.h"
#include "framework/data/data_reading.h"
#include "framework/data/fingerprint.h"
#include "framework/reporting/image_files.h"
#include "framework/support/files.h"
#include "framework/support/folder_hold.h"
#include "framework/training/checkpoint_files.h"
#include "framework/training/experiment_change.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kMostRecord = 1 << 20;
constexpr std::int64_t kLeftOut = -2;  // instead of a label
constexpr const char* kAbout = "data.json";
constexpr const char* kReading = "reading";           // its key for what decides the pixels
constexpr const char* kArchive = "packed";            // libzip puts its own temporary file beside it
constexpr const char* kIsWhole = "archive-is-whole";  // a file: the archive needs only its name

fs::path parts_folder(const fs::path& out) { return fs::path(out) += ".part"; }

/// "00012/img00012345.png", as EDM's tools name files.
std::string name_of(std::int64_t index) {
  std::string number = std::to_string(index);
  if (number.size() < 8) number.insert(0, 8 - number.size(), '0');
  return text(number.substr(0, number.size() - 3), "/img", number, ".png");
}

/// A file or folder among the parts that no packing has made; empty: there is none.
fs::path stranger_in(const fs::path& folder) {
  const auto is_number = [](std::string_view digits, std::size_t count) {
    return digits.size() >= count && digits.find_first_not_of("0123456789") == std::string_view::npos;
  };
  const std::string archive = kArchive;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory() && !entry.is_symlink() && is_number(name, 5)) {
      for (const fs::directory_entry& part : fs::directory_iterator(entry.path())) {
        const std::string image = part.path().filename().string();
        const bool is_image = image.starts_with("img") && part.path().extension() == ".png" &&
                              is_number(part.path().stem().string().substr(3), 8);
        if (!(is_image && part.is_regular_file()) && !is_leftover(image)) return part.path();
      }
      continue;
    }
    const bool is_ours = name == kAbout || name == "list.txt" || name == kIsWhole || name.starts_with(archive);
    if (!(is_ours && entry.is_regular_file()) && !is_leftover(name)) return entry.path();
  }
  return {};
}

/// Removes the folder of parts that are no longer needed, unless something else is in it.
void remove_parts(const fs::path& folder, const std::function<void(const fs::path&)>& remove) {
  const fs::path stranger = stranger_in(folder);
  if (stranger.empty()) return remove(folder);
  std::cerr << "warning: " << folder.string() << " is no longer needed, but stays, since " << stranger.string()
            << " in it was not made by `casdm data pack`\n";
}

/// Makes a folder for parts, in which no other process packs while this object lives.
class PartsFolder {
 public:
  explicit PartsFolder(fs::path path) : path_(std::move(path)) {
    if (fs::create_directory(path_)) sync_folder(fs::absolute(path_).parent_path());
    descriptor_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor_ < 0) throw Error(text(path_.string(), " cannot be opened: ", std::strerror(errno)));
    // A file system without locks: other processes cannot be detected.
    const bool is_taken = ::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (!is_taken && !moved_to(descriptor_, path_)) return;
    ::close(descriptor_);
    throw Error(text("another process ", is_taken ? "is packing into " : "has just finished with ", path_.string()));
  }
  ~PartsFolder() {
    ::rmdir(path_.c_str());  // fails unless it is empty
    ::close(descriptor_);
  }
  PartsFolder(const PartsFolder&) = delete;
  PartsFolder& operator=(const PartsFolder&) = delete;

  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
  int descriptor_;
};

/// The images packed so far and their labels, one line with index and label each, in order.
class PackedParts {
 public:
  PackedParts(const PartsFolder& folder, const DataFingerprint& data, const Value& reading) : folder_(folder.path()) {
    const fs::path about = folder.path() / kAbout;
    remove_leftovers(folder.path());
    if (fs::is_empty(folder.path())) {
      Value record = to_value(data);
      record.set(kReading, reading);
      write_file(about, to_json(record));
    } else {
      require_parts_of(about, data, reading);
      read_list();
    }
    list_.open(folder.path() / "list.txt", std::ios::app);
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
  void require_parts_of(const fs::path& about, const DataFingerprint& data, const Value& reading) const {
    const auto refuse = [&](const std::string& what, const std::string& why) {
      throw ConfigError(text(folder_.string(), ' ', what, " (", why, "); remove it, or choose another --out"));
    };
    const char* others = "does not hold parts of these images at this size";
    if (!fs::exists(about)) refuse(others, text("it holds no ", kAbout));
    const Value record = from_json(read_regular_file(about, kMostRecord));
    if (const std::string why = what_differs(fingerprint_from(record), data); !why.empty()) refuse(others, why);
    const Value* before = record.find(kReading);
    if (before == nullptr) return;  // begun by an earlier version
    std::vector<std::string> changed;
    for (const ExperimentChange& change : changes(*before, reading)) changed.push_back(to_string(change));
    if (!changed.empty()) refuse("holds images that were read in another way", join(changed, "; "));
  }

  /// A last line without a line break was not finished, so its image is packed again, and so are those that a power
  /// failure may have taken.
  void read_list() {
    const fs::path path = folder_ / "list.txt";
    std::ifstream file(path);
    std::uintmax_t whole = 0;
    for (std::string line; std::getline(file, line) && !file.eof();) {
      long long index = 0, label = 0;
      if (std::sscanf(line.c_str(), "%lld %lld", &index, &label) != 2 || index != std::ssize(labels_)) break;
      if (label != kLeftOut && !is_there(path_of(index))) break;
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

/// Makes the archive from the parts, in their folder.
void write_archive(const PackedParts& parts, const fs::path& out, bool has_labels) {
  fs::remove(parts.folder() / kIsWhole);  // of an attempt that was killed, like these
  for (const fs::directory_entry& entry : fs::directory_iterator(parts.folder())) {
    if (entry.path().filename().string().starts_with(kArchive)) fs::remove(entry.path());
  }
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
}

void refuse_taken(const fs::path& out) {
  if (!fs::exists(fs::symlink_status(out))) return;
  throw ConfigError(text("data pack: ", out.string(), " is there already, and nothing is overwritten"));
}

/// Gives the archive its name and removes the parts.
void finish(const PackedParts& parts, const fs::path& out) {
  const fs::path archive = parts.folder() / kArchive;
  make_durable(archive);
  write_file(parts.folder() / kIsWhole, "");
  refuse_taken(out);
  fs::rename(archive, out);
  sync_folder(fs::absolute(out).parent_path());
  remove_parts(parts.folder(), remove_folder);
}

}  // namespace

void remove_parts_of_finished(const fs::path& out) {
  const fs::path folder = parts_folder(out);
  remove_leftovers(fs::absolute(out).parent_path());
  if (!is_there(folder / kIsWhole) || is_there(folder / kArchive) || !is_there(out)) return;
  remove_parts(folder, remove_unless_held);
}

namespace {

Image fitted(const Example& example, const Dataset& dataset, std::int64_t index, const DataOptions& options) {
  const auto fail = [&](const std::string& what) {
    throw PluginError(text(error_prefix(options.dataset), dataset.describe(index), what));
  };
  const std::int64_t classes = dataset.num_classes();
  if (classes > 0 && (example.label < 0 || example.label >= classes)) {
    fail(text(" has the label ", example.label, "; the data set promises 0 to ", classes - 1));
  }
  try {
    return prepare_image(example.image, {ImageShape::square(options.channels, options.image_size)});
  } catch (const Error& error) {
    fail(text(": the data set's plugin did not return a valid image: ", error.what()));
    throw;
  }
}

}  // namespace

std::optional<Packed> pack_data(const LoadedExperiment& experiment, const fs::path& out,
                                const std::function<bool(std::int64_t, std::int64_t)>& progress) {
  const DataOptions& data = experiment.options.data;
  refuse_taken(out);
  const std::shared_ptr<Dataset> dataset = make_dataset(experiment);
  if (dataset->is_floating_point() || !dataset->extras().empty()) {
    throw ConfigError("data pack: these images are not 8-bit, or have extras, for which a zip of PNGs has no place");
  }
  DataOptions packed_data = data;
  packed_data.use_labels = dataset->num_classes() > 0;  // they are packed even if this experiment does not use them
  const PartsFolder folder(parts_folder(out));
  refuse_taken(out);  // by a process that packed it meanwhile
  PackedParts parts(folder, fingerprint(*dataset, packed_data),
                    from_json(to_json(Value(Value::Table{{"data", reading_of(data)}}))));
  const std::int64_t total = dataset->size();
  for (std::int64_t i = std::ssize(parts.labels()); i < total; ++i) {
    if (!progress(i, total)) return std::nullopt;
    std::optional<Example> example;
    try {
      example = dataset->get(i);
    } catch (const PluginError&) {
      throw;
    } catch (const Error&) {
      if (!data.skip_unreadable) throw;
    }
    example ? parts.add(fitted(*example, *dataset, i, data), example->label) : parts.add(std::nullopt, kLeftOut);
  }
  progress(total, total);
  Packed packed;
  packed.classes = dataset->num_classes();
  for (const std::int64_t label : parts.labels()) {
    ++(label == kLeftOut ? packed.left_out : packed.images);
    packed.classes_in_archive = std::max(packed.classes_in_archive, label + 1);
  }
  if (packed.images == 0) throw Error("data pack: no image can be read");
  write_archive(parts, parts.folder() / kArchive, packed.classes > 0);
  finish(parts, out);
  return packed;
}

}  // namespace casdm
