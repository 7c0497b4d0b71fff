#include "shards_dataset.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <fstream>
#include <map>
#include <optional>
#include <set>

#include "casdm/error.h"
#include "casdm/text.h"
#include "decoding.h"
#include "files.h"
#include "tar_reader.h"

namespace casdm::dataset_images {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kEnding = ".tar";
constexpr const char* kCompressed[] = {"gz", "bz2", "xz", "zst", "lz4", "lzma", "lz", "br", "z"};
constexpr std::string_view kLabel = ".cls";
constexpr std::uint64_t kLabelBytes = 32;

/// What the files of a sample share: the name up to the first dot after the last slash.
std::string_view stem_of(std::string_view name) {
  const std::size_t point = name.find('.', name.size() - file_name(name).size());
  return name.substr(0, point);
}

std::string in_lower_case(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  return name;
}

bool is_archive(const std::string& name) { return in_lower_case(name).ends_with(kEnding); }

bool is_compressed(const std::string& name) {
  const std::string lower = in_lower_case(name);
  const auto ends = [&](std::string_view ending) { return lower.ends_with(ending); };
  return std::any_of(std::begin(kCompressed), std::end(kCompressed),
                     [&](const char* ending) { return ends(text(kEnding, '.', ending)); }) ||
         ends(".tgz") || ends(".tbz") || ends(".tbz2") || ends(".txz") || ends(".tzst");
}

/// A name that ends in a number: "train-", 12, and six digits of "train-000012.tar".
struct Numbered {
  std::string before;
  std::int64_t number;
  std::size_t digits;
};

std::optional<Numbered> numbered(std::string_view name) {
  name.remove_suffix(kEnding.size());
  std::size_t start = name.size();
  while (start > 0 && name[start - 1] >= '0' && name[start - 1] <= '9' && name.size() - start < 9) --start;
  std::int64_t number = 0;
  if (std::from_chars(name.data() + start, name.data() + name.size(), number).ec != std::errc()) return std::nullopt;
  return Numbered{std::string(name.substr(0, start)), number, name.size() - start};
}

std::string name_of(const std::string& before, std::int64_t number, std::size_t digits) {
  std::string shown = std::to_string(number);
  if (shown.size() < digits) shown.insert(0, digits - shown.size(), '0');
  return text(before, shown, kEnding);
}

/// Among names that differ only in a number, none may be missing between the first and the last. If more are missing
/// than exist, the numbers are not a sequence, like those of ImageNet's classes.
void require_no_gaps(const fs::path& folder, const std::vector<std::string>& names) {
  std::map<std::string, std::map<std::int64_t, std::size_t>> rows;
  for (const std::string& name : names) {
    if (const auto found = numbered(name)) rows[found->before][found->number] = found->digits;
  }
  for (const auto& [before, row] : rows) {
    const auto [first, digits] = *row.begin();
    const std::int64_t last = row.rbegin()->first;
    const std::int64_t there = std::ssize(row), absent = last - first + 1 - there;
    if (absent == 0 || absent > there) continue;
    std::vector<std::string> missing;
    for (std::int64_t number = first; number < last; ++number) {
      if (!row.contains(number)) missing.push_back(name_of(before, number, digits));
    }
    throw Error(text(folder.string(), " lacks ", some_of(missing), " between ", name_of(before, first, digits), " and ",
                     name_of(before, last, row.rbegin()->second), "; get them, or name the archives without a gap"));
  }
}

}  // namespace

ShardsDataset::ShardsDataset(const ShardsOptions& options, const Spec& spec)
    : path_(options.path), form_{spec, options.exif_orientation} {
  require_channels(spec.image.channels);
  require_exists(path_, "a folder of tar archives, or one of them");
  std::vector<std::string> others;
  find_shards(others);
  const bool has_labels = options.labels == ShardLabels::cls;
  std::vector<std::int64_t> labels;
  for (std::size_t shard = 0; shard < shards_.size(); ++shard) add_samples(shard, has_labels, others, labels);
  if (samples_.empty()) throw Error(text(path_.string(), " holds archives without any file"));
  if (has_labels) labels_ = labels_from_numbers(std::move(labels), size(), 0, 0, path_.string());
  left_out_ = left_out_files(others);
}

std::vector<std::uint8_t> ShardsDataset::read_part(const Shard& shard, std::uint64_t offset, std::uint64_t size) {
  std::vector<std::uint8_t> bytes(size);
  std::ifstream file(shard.path, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(offset));
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
  if (version_of(shard.path) != shard.version) fail_changed(shard.path.string());
  if (!file) throw Error(text(shard.path.string(), " cannot be read"));
  return bytes;
}

void ShardsDataset::find_shards(std::vector<std::string>& others) {
  std::vector<std::string> names, compressed;
  if (!fs::is_directory(path_)) {
    (is_compressed(path_.string()) ? compressed : names).push_back(path_.filename().string());
    shards_.push_back({names.empty() ? "" : names.front(), path_, version_of(path_)});
  } else {
    for (FoundFile& file : list_files(path_)) {
      if (is_compressed(file.name)) compressed.push_back(file.name);
      if (!is_archive(file.name)) {
        if (!is_hidden(file.name)) others.push_back(file.name);
        continue;
      }
      names.push_back(file.name);
      shards_.push_back({std::move(file.name), file.path, version_of(file.path)});
    }
    if (names.empty() && compressed.empty()) {
      throw Error(text(path_.string(), " holds no tar archive; it holds ", contents_of(path_)));
    }
    require_no_gaps(path_, names);
  }
  if (compressed.empty()) return;
  throw Error(text(path_.string(), ": ", some_of(compressed), compressed.size() == 1 ? " is" : " are",
                   " compressed, so single images cannot be reached; unpack to plain .tar, by gunzip or the like"));
}

void ShardsDataset::add_samples(std::size_t number, bool has_labels, std::vector<std::string>& others,
                                std::vector<std::int64_t>& labels) {
  const Shard& shard = shards_[number];
  const auto fail = [&](std::string_view stem, const std::string& problem) {
    throw Error(text(shard.path.string(), ": the sample ", quoted(stem), " ", problem));
  };
  std::vector<TarMember> members = index_tar(shard.path);
  std::erase_if(members, [](const TarMember& member) { return is_hidden(member.name); });
  std::set<std::string, std::less<>> seen;
  for (std::size_t first = 0, end = 0; first < members.size(); first = end) {
    const std::string_view stem = stem_of(members[first].name);
    const TarMember* image = nullptr;
    const TarMember* label = nullptr;
    std::vector<std::string> files;
    for (end = first; end < members.size() && stem_of(members[end].name) == stem; ++end) {
      const TarMember& member = members[end];
      files.emplace_back(file_name(member.name));
      const bool is_image = is_image_name(member.name), is_label = has_labels && member.name.ends_with(kLabel);
      const TarMember*& role = is_image ? image : label;
      if (!is_image && !is_label) {
        others.push_back(member.name);
      } else if (role != nullptr) {
        fail(stem, text("has two ", is_image ? "images" : "labels", ": ", role->name, " and ", member.name));
      } else {
        role = &member;
      }
    }
    if (!seen.emplace(stem).second) {
      fail(stem, "is in two pieces with others between; make the archive again, with the files of a sample together");
    }
    if (image == nullptr) fail(stem, text("has no image (", kImageEndings, "); it has ", some_of(files)));
    if (has_labels && label == nullptr) fail(stem, text("has no .cls for its label; it has ", some_of(files)));
    samples_.push_back({number, image->name, image->offset, image->size});
    if (has_labels) labels.push_back(read_label(shard, label->name, label->offset, label->size));
  }
}

std::int64_t ShardsDataset::read_label(const Shard& shard, const std::string& name, std::uint64_t offset,
                                       std::uint64_t size) const {
  const std::vector<std::uint8_t> bytes = read_part(shard, offset, std::min(size, kLabelBytes));
  std::string_view words(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  while (!words.empty() && (words.back() == '\n' || words.back() == '\r' || words.back() == ' '))
    words.remove_suffix(1);
  std::int64_t label = 0;
  const auto [end, failure] = std::from_chars(words.data(), words.data() + words.size(), label);
  const bool is_number = failure == std::errc() && end == words.data() + words.size() && size <= kLabelBytes;
  if (is_number && label >= 0 && label < kMaxClasses) return label;
  throw Error(text(shard.path.string(), ":", name, " is ", quoted(words, 40), "; expected a class number from 0 to ",
                   kMaxClasses - 1));
}

Example ShardsDataset::get(std::int64_t index) const {
  const Sample& sample = samples_.at(static_cast<std::size_t>(index));
  if (sample.size > kMaxFileBytes) {
    throw Error(text(describe(index), " has ", sample.size, " bytes; the limit is ", kMaxFileBytes));
  }
  Example example = decode_image(read_part(shards_[sample.shard], sample.offset, sample.size), form_, describe(index));
  example.label = labels_.at(index);
  return example;
}

std::string ShardsDataset::key(std::int64_t index) const {
  const Sample& sample = samples_.at(static_cast<std::size_t>(index));
  return text(shards_[sample.shard].name, ":", sample.image);
}

std::string ShardsDataset::describe(std::int64_t index) const {
  const Sample& sample = samples_.at(static_cast<std::size_t>(index));
  return text(shards_[sample.shard].path.string(), ":", sample.image);
}

}  // namespace casdm::dataset_images
