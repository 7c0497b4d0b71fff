#include "cifar10_dataset.h"

#include <algorithm>
#include <array>
#include <map>

#include "casdm/error.h"
#include "casdm/text.h"
#include "decoding.h"
#include "files.h"
#include "tar_reader.h"

namespace casdm::dataset_images {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kSide = 32;
constexpr std::int64_t kPlane = kSide * kSide;
constexpr std::int64_t kRecord = 1 + 3 * kPlane;
/// Bytes of a split in memory; the larger one has 154 MB.
constexpr std::uint64_t kMaxHeld = std::uint64_t{1} << 29;

constexpr std::array<std::string_view, 10> kClasses = {"airplane", "automobile", "bird",  "cat",  "deer",
                                                       "dog",      "frog",       "horse", "ship", "truck"};

std::string_view file_name(std::string_view name) { return name.substr(name.rfind('/') + 1); }

bool is_batch(std::string_view name, Split split) {
  const std::string_view file = file_name(name);
  return split == Split::test ? file == "test_batch.bin" : file.starts_with("data_batch_") && file.ends_with(".bin");
}

/// The class folder of ".../<split>/<class>/<image>"; empty for other names.
std::string_view class_folder(std::string_view name, Split split) {
  if (!is_image_name(name) || file_name(name).starts_with('.')) return {};
  const std::size_t file = name.rfind('/');
  if (file == std::string_view::npos || file == 0) return {};
  const std::size_t folder = name.rfind('/', file - 1);
  if (folder == std::string_view::npos) return {};
  const std::string_view above = file_name(name.substr(0, folder));
  return above == to_string(split) ? name.substr(folder + 1, file - folder - 1) : std::string_view();
}

std::int64_t class_number(std::string_view folder, const std::string& source) {
  const auto found = std::find(kClasses.begin(), kClasses.end(), folder);
  if (found == kClasses.end()) {
    throw Error(text(source, ": CIFAR-10 has no class ", quoted(folder),
                     "; type = \"folder\" with labels = \"folders\" reads any classes"));
  }
  return found - kClasses.begin();
}

}  // namespace

std::int64_t Cifar10Dataset::Batch::size() const { return static_cast<std::int64_t>(bytes.size()) / kRecord; }

Cifar10Dataset::Cifar10Dataset(const Cifar10Options& options, const Spec& spec)
    : path_(options.path), split_(options.split), form_{spec} {
  require_channels(spec.image.channels);
  require_exists(path_, "CIFAR-10, as a folder or a tar archive");
  std::vector<std::string> seen;
  if (fs::is_directory(path_)) {
    for (FoundFile& file : list_files(path_)) {
      seen.push_back(file.name);
      if (!is_wanted(file.name)) continue;
      std::vector<std::uint8_t> bytes;
      if (is_batch(file.name, split_)) bytes = read_bytes(file.path, kMaxFileBytes);
      take(std::move(file.name), std::move(bytes), std::move(file.path));
    }
  } else {
    read_tar(
        path_,
        [&](const std::string& name) {
          seen.push_back(name);
          return is_wanted(name);
        },
        [&](std::string name, std::vector<std::uint8_t> bytes) { take(std::move(name), std::move(bytes), {}); });
  }
  if (size() == 0) fail_empty(seen);
  sort();
  require_all_batches();
}

bool Cifar10Dataset::is_wanted(const std::string& name) const {
  return is_batch(name, split_) || !class_folder("/" + name, split_).empty();
}

void Cifar10Dataset::take(std::string name, std::vector<std::uint8_t> bytes, fs::path path) {
  hold(bytes.size());
  if (is_batch(name, split_)) {
    add_batch(name, std::move(bytes));
  } else {
    const std::int64_t label = class_number(class_folder("/" + name, split_), text(path_.string(), ":", name));
    files_.push_back({std::move(name), label, std::move(bytes), std::move(path)});
  }
}

void Cifar10Dataset::add_batch(const std::string& name, std::vector<std::uint8_t> bytes) {
  const auto length = static_cast<std::int64_t>(bytes.size());
  if (length == 0 || length % kRecord != 0) {
    throw Error(text(path_.string(), ":", name, " is truncated or not a CIFAR-10 batch: it has ", length,
                     " bytes, expected a multiple of ", kRecord));
  }
  for (std::int64_t record = 0; record < length / kRecord; ++record) {
    const int label = bytes[static_cast<std::size_t>(record * kRecord)];
    if (label > 9) {
      throw Error(text(path_.string(), ":", name, " is damaged: record ", record, " has the label ", label,
                       ", expected 0 to 9"));
    }
  }
  batches_.push_back({name, std::move(bytes)});
}

void Cifar10Dataset::hold(std::size_t bytes) {
  held_ += bytes;
  if (held_ <= kMaxHeld) return;
  throw Error(text(path_.string(), " is not CIFAR-10: its ", to_string(split_), " images take more than ",
                   kMaxHeld >> 20, " MiB"));
}

void Cifar10Dataset::require_all_batches() const {
  if (batches_.empty() || split_ == Split::test) return;
  std::vector<std::string> missing, found;
  for (const Batch& batch : batches_) found.push_back(batch.name);
  for (int number = 1; number <= 5; ++number) {
    const std::string name = text("data_batch_", number, ".bin");
    const bool is_there =
        std::any_of(found.begin(), found.end(), [&](const std::string& path) { return file_name(path) == name; });
    if (!is_there) missing.push_back(name);
  }
  if (missing.empty()) return;
  throw Error(text(path_.string(), " lacks ", join(missing, ", "), " of CIFAR-10's five training batches; it holds ",
                   some_of(found)));
}

void Cifar10Dataset::sort() {
  const auto by_name = [](const auto& a, const auto& b) { return a.name < b.name; };
  const auto same_name = [](const auto& a, const auto& b) { return a.name == b.name; };
  std::sort(batches_.begin(), batches_.end(), by_name);
  std::sort(files_.begin(), files_.end(), by_name);
  const auto twice = std::adjacent_find(files_.begin(), files_.end(), same_name);
  if (twice != files_.end()) fail_twice(path_, twice->name);
  std::map<std::string_view, const Batch*> seen;
  for (const Batch& batch : batches_) {
    const auto [first, is_new] = seen.emplace(file_name(batch.name), &batch);
    if (is_new) continue;
    throw Error(text(path_.string(), " holds ", first->first, " twice: ", first->second->name, " and ", batch.name));
  }
}

void Cifar10Dataset::fail_empty(const std::vector<std::string>& seen) const {
  const bool has_pickles = std::any_of(seen.begin(), seen.end(), [](const std::string& name) {
    return file_name(name) == "data_batch_1" || file_name(name) == "test_batch";
  });
  throw Error(text(path_.string(), " holds no ", to_string(split_), " images of CIFAR-10: looked for ",
                   split_ == Split::test ? "test_batch.bin" : "data_batch_*.bin", " and ", to_string(split_),
                   "/<class>/*.jpg; it holds ", some_of(seen),
                   has_pickles ? ". This is the Python version: get the binary version (cifar-10-binary.tar.gz)" : ""));
}

std::int64_t Cifar10Dataset::size() const {
  std::int64_t records = 0;
  for (const Batch& batch : batches_) records += batch.size();
  return records > 0 ? records : static_cast<std::int64_t>(files_.size());
}

Cifar10Dataset::Record Cifar10Dataset::record(std::int64_t index) const {
  std::int64_t number = index;
  for (const Batch& batch : batches_) {
    if (number >= 0 && number < batch.size()) return {&batch, number};
    number -= batch.size();
  }
  throw Error(text(path_.string(), " has no image ", index));
}

Example Cifar10Dataset::get(std::int64_t index) const {
  if (batches_.empty()) {
    const File& file = files_.at(static_cast<std::size_t>(index));
    const bool is_on_disk = file.bytes.empty() && !file.path.empty();
    Example example =
        decode_image(is_on_disk ? read_bytes(file.path, kMaxFileBytes) : file.bytes, form_, describe(index));
    example.label = file.label;
    return example;
  }
  const auto [batch, number] = record(index);
  const std::uint8_t* bytes = batch->bytes.data() + number * kRecord;
  Image image{kSide, kSide, 3, std::vector<std::uint8_t>(3 * kPlane)};
  for (std::int64_t pixel = 0; pixel < kPlane; ++pixel) {
    for (std::int64_t c = 0; c < 3; ++c) {
      image.pixels[static_cast<std::size_t>(pixel * 3 + c)] = bytes[1 + c * kPlane + pixel];
    }
  }
  return {form_.spec.image.channels == 1 ? to_grey(image) : std::move(image), bytes[0]};
}

std::string Cifar10Dataset::describe(std::int64_t index) const {
  if (batches_.empty()) {
    const File& file = files_.at(static_cast<std::size_t>(index));
    return file.path.empty() ? text(path_.string(), ":", file.name) : file.path.string();
  }
  const auto [batch, number] = record(index);
  return text(path_.string(), ":", batch->name, " record ", number);
}

}  // namespace casdm::dataset_images
