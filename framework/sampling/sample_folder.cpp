#include "framework/sampling/sample_folder.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <vector>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/reporting/image_files.h"
#include "framework/sampling/sampling_record.h"
#include "framework/support/files.h"
#include "framework/support/folder_hold.h"
#include "framework/support/json_member.h"
#include "framework/support/sealed_json.h"

namespace casdm {

namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kGridImages = 64;
constexpr std::int64_t kPieceOfSamples = 64;  // images read at once when they are read back
constexpr const char* kGrid = "grid.png";
constexpr const char* kPart = "samples.npz.part";
constexpr std::size_t kDigits = 6;
constexpr std::string_view kPngSignature = "\x89PNG\r\n\x1a\n";
constexpr std::size_t kBeforeSignature = 64;  // bytes of a PNG of ours that do not say yet who made it
constexpr std::size_t kLargestPng = std::size_t{1} << 30;

std::string png_name(std::int64_t index) {
  std::array<char, 32> name;
  std::snprintf(name.data(), name.size(), "%06lld.png", static_cast<long long>(index));
  return name.data();
}

/// The index of the image whose file has this name.
std::optional<std::int64_t> png_index(const std::string& name) {
  const std::size_t digits = std::min(name.find_first_not_of("0123456789"), name.size());
  if (digits < kDigits || digits > 18 || name.substr(digits) != ".png") return std::nullopt;
  return std::stoll(name.substr(0, digits));
}

/// Whether a sampling of `count` images has a file of this name, other than sampling.json.
bool is_of_sampling(const std::string& name, std::int64_t count, bool with_pngs) {
  if (name == kGrid || name == kSamplesFile || name == kPart) return true;
  const std::optional<std::int64_t> index = png_index(name);
  return with_pngs && index && *index < count && png_name(*index) == name;
}

bool is_image(const std::string& name) {
  std::string ending = fs::path(name).extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return std::tolower(c); });
  return ending == ".png" || ending == ".jpg" || ending == ".jpeg" || ending == ".webp";
}

/// The end of a zip archive, where its directory is.
std::string end_of_archive(const fs::path& path) {
  constexpr std::streamoff kEnds = 1024;
  std::ifstream file(path, std::ios::binary);
  std::string end(static_cast<std::size_t>(kEnds), '\0');
  if (fs::file_size(path) > kEnds) file.seekg(-kEnds, std::ios::end);
  file.read(end.data(), kEnds);
  return end;
}

/// Whether the file itself says that this program made it, whatever sampling.json says.
bool is_signed(const fs::path& path) {
  if (path.filename() != kSamplesFile) return is_png_of_ours(path);
  return end_of_archive(path).find(kSamplingRecord) != std::string::npos;
}

bool is_all_zero(std::string_view content) { return content.find_first_not_of('\0') == std::string_view::npos; }

/// Whether somebody has put the file, a picture or the samples, in the place of one of a sampling: it is whole, and
/// this program has not made it.
bool is_changed(const fs::path& path) {
  if (is_signed(path)) return false;
  if (path.filename() == kSamplesFile) return end_of_archive(path).find("PK\5\6") != std::string::npos;
  std::ifstream file(path, std::ios::binary);
  std::string start(kBeforeSignature, '\0');
  file.read(start.data(), static_cast<std::streamsize>(start.size()));
  start.resize(static_cast<std::size_t>(file.gcount()));
  const std::string_view signature = kPngSignature.substr(0, start.size());
  const bool is_cut = start.size() < kBeforeSignature && start.starts_with(signature);  // by a crash
  return !is_cut && !is_all_zero(start);
}

/// Whether the content of a sampling.json that cannot be used shows that this program wrote it. A whole JSON has the
/// members of a record, a damaged one at least begins like one.
bool is_record_of_ours(const std::string& content) {
  try {
    const Value record = from_json(content);
    return record.find("settings") != nullptr && record.find("checkpoint") != nullptr;
  } catch (const Error&) {
    const std::size_t first = content.find_first_not_of(" \n{");
    return content.empty() || (content.front() == '{' && first != std::string::npos &&
                               std::string_view(content).substr(first).starts_with("\"format\""));
  }
}

bool is_of_sampling(const std::string& name, const Value& record) {
  const Value& settings = json_member(record, "settings");
  return is_of_sampling(name, json_member(settings, "images").as_integer(), json_member(settings, "png").as_boolean());
}

/// The first few names, for messages.
std::string shortened(std::vector<std::string> names) {
  constexpr std::size_t kShown = 3;
  const std::size_t rest = names.size() - std::min(names.size(), kShown);
  names.resize(names.size() - rest);
  return text(join(names, ", "), rest > 0 ? text(" and ", rest, " more") : "");
}

/// The text that an image stores about its sampling.
PngText png_text(const Sampling& sampling, std::optional<std::int64_t> index) {
  Value about = sampling.origin;
  for (const char* key : {"weights", "sampler", "guidance", "seed", "precision"}) {
    if (const Value* value = sampling.settings.find(key)) about.set(key, *value);
  }
  if (index) about.set("index", *index);
  if (index && sampling.label) about.set("label", sampling.label(*index));
  return {{"Software", json_member(sampling.settings, "program").as_string()}, {"casdm", to_json(about)}};
}

Value record_of(const Sampling& sampling) {
  Value record{Value::Table{}};
  record.set("format", kSamplingFormat);
  for (const auto& [key, value] : sampling.origin.as_table()) record.set(key, value);
  record.set("settings", sampling.settings);
  return record;
}

}  // namespace

SampleFolder::SampleFolder(fs::path path) : path_(std::move(path)) {
  std::error_code ignored;
  if (fs::exists(path_, ignored) && !fs::is_directory(path_, ignored)) {
    throw ConfigError(text(quoted(path_.string()), " is not a folder; choose another one with --out"));
  }
  try {
    earlier_ = read_sampling(path_);
  } catch (const Error&) {  // reported by `begin`, unless the folder is to be replaced
  }
}

SampleFolder::~SampleFolder() {
  std::error_code ignored;
  if (is_new_folder_ && !is_started_) fs::remove(path_, ignored);
  if (lock_ >= 0) ::close(lock_);
}

bool SampleFolder::is_unfinished() const {
  return earlier_ && !json_member(json_member(*earlier_, "drawn"), "complete").as_boolean();
}

std::string SampleFolder::unfinished_checkpoint(Source source) const {
  if (!is_unfinished()) return "";
  const fs::path given = (fs::path(json_member(*earlier_, "run").as_string()).lexically_normal() / "").parent_path();
  const Source before = given.filename() == "best"                        ? Source::best
                        : given.parent_path().filename() == "checkpoints" ? Source::checkpoint
                                                                          : Source::run;
  if (before != source) return "";
  return fs::path(json_member(json_member(*earlier_, "checkpoint"), "path").as_string()).filename().string();
}

std::int64_t SampleFolder::earlier_threads() const {
  const Value* threads = earlier_ ? json_member(*earlier_, "settings").find("threads") : nullptr;
  return threads != nullptr && threads->is_integer() ? std::clamp<std::int64_t>(threads->as_integer(), 0, 1024) : 0;
}

void SampleFolder::hold() {
  std::error_code failure;
  is_new_folder_ = fs::create_directories(path_, failure);
  if (failure) throw Error(text("folder ", quoted(path_.string()), " cannot be created: ", failure.message()));
  if (is_new_folder_) sync_folder(path_ / "..");
  lock_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock_ >= 0 && ::flock(lock_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    is_new_folder_ = false;  // it is the other's now
    throw Error(text("another process is drawing into ", quoted(path_.string())));
  }
}

std::string SampleFolder::begin(Sampling sampling, bool overwrite) {
  sampling_ = std::move(sampling);
  sampling_.settings = from_json(to_json(sampling_.settings));  // in the form in which it is read back
  npz_.emplace(path_ / kSamplesFile, sampling_.count, sampling_.channels, sampling_.image_size);
  hold();
  try {
    earlier_ = read_sampling(path_);
  } catch (const Error& error) {
    earlier_ = std::nullopt;
    // Even a damaged record shows whether it is ours.
    const std::string content = read_regular_file(path_ / kSamplingRecord, kLargestRecord);
    is_record_ours_ = is_record_of_ours(content);
    if (!overwrite || !is_record_ours_) {
      throw ConfigError(text(quoted((path_ / kSamplingRecord).string()), " cannot be used: ", error.what(),
                             ". Choose another folder",
                             is_record_ours_ ? ", or pass --overwrite" : ": no `casdm sample` has written it"));
    }
  }
  std::vector<std::string> differences;
  if (earlier_) collect_differences(json_member(*earlier_, "settings"), sampling_.settings, "", differences);
  if (!differences.empty() && !overwrite) {
    throw ConfigError(text(quoted(path_.string()), " holds ",
                           is_unfinished() ? "another sampling, unfinished" : "another sampling", ":\n",
                           join(differences, "\n"), "\nChoose another folder, or pass --overwrite"));
  }
  refuse_strangers(overwrite);
  // An unfinished sampling with the same settings is continued, even with --overwrite: the result is the same.
  const bool is_same = earlier_ && differences.empty();
  const std::string remark = is_same && (!overwrite || is_unfinished()) ? go_on() : "";
  // Checked before hours of drawing rather than after.
  if (!is_complete_ && ::faccessat(AT_FDCWD, path_.c_str(), W_OK | X_OK, AT_EACCESS) != 0) {
    throw Error(text("folder ", quoted(path_.string()), " cannot be written: ", std::strerror(errno)));
  }
  return remark;
}

/// Refuses files with names of a sampling that the earlier one does not account for. Without a sampling.json, nothing
/// is known about their origin.
void SampleFolder::refuse_strangers(bool overwrite) const {
  const std::vector<std::string> strangers = strangers_if(overwrite);
  if (strangers.empty()) return;
  const bool would_replace = !overwrite && strangers_if(true).size() < strangers.size();
  throw ConfigError(text(
      quoted(path_.string()), " holds ", shortened(strangers), ", which ",
      earlier_ ? "its sampling.json does not account for, or which was changed since" : "no sampling.json accounts for",
      ". Choose another folder, or move them away",
      would_replace ? ", or pass --overwrite to replace those that `casdm sample` has made" : ""));
}

std::vector<std::string> SampleFolder::strangers_if(bool overwrite) const {
  std::vector<std::string> strangers;
  for (const auto& entry : fs::directory_iterator(path_)) {
    const std::string name = entry.path().filename().string();
    const bool is_like_ours = png_index(name) || name == kGrid || name == kSamplesFile || name == kPart;
    if (!is_like_ours) {
      // Beside a sampling, images such as those of a data set would be taken for a part of it, and it for one of them.
      if (!earlier_ && is_image(name)) strangers.push_back(name);
      continue;
    }
    const bool is_accounted_for = earlier_ && is_of_sampling(name, *earlier_);
    const bool is_replaced = overwrite && is_of_sampling(name, sampling_.count, sampling_.with_pngs);
    const bool is_ours = entry.is_regular_file() && (name == kPart ? is_record_ours_ : is_signed(entry));
    const bool is_kept = !overwrite && !is_unfinished();  // a complete sampling: nothing is written
    const bool is_mine = is_kept || !entry.is_regular_file() || name == kPart || !is_changed(entry);
    if (is_accounted_for ? is_mine : is_replaced && is_ours) continue;
    strangers.push_back(name);
  }
  std::sort(strangers.begin(), strangers.end());
  return strangers;
}

/// Continues with the images that the earlier sampling with the same settings has drawn.
std::string SampleFolder::go_on() {
  remove_leftovers(path_);
  const Value& drawn = json_member(*earlier_, "drawn");
  const bool is_complete = json_member(drawn, "complete").as_boolean();
  const std::int64_t images = is_complete ? sampling_.count : json_member(drawn, "images").as_integer();
  // The NPZ gets its name only after everything else is written.
  const bool is_named = images == sampling_.count && fs::exists(path_ / kSamplesFile) && !fs::exists(npz_->part());
  if (is_complete || is_named) {
    check_complete();
    if (!is_complete) write_record(true);
    is_complete_ = true;
    return text("the sampling is complete: ", sampling_.count, " images");
  }
  if (images == 0) return "";
  const auto checksum = static_cast<std::uint32_t>(json_member(drawn, "crc32").as_integer());
  is_started_ = npz_->resume(images, checksum);
  if (!is_started_) {
    return text(npz_->part().string(), " does not hold the ", images,
                " images that sampling.json counts: drawing from the beginning");
  }
  for (const bool writes : {false, true}) {
    for (std::int64_t first = 0; first < images; first += kPieceOfSamples) {
      const at::Tensor piece = npz_->read(first, std::min(kPieceOfSamples, images - first));
      writes ? write_pngs(first, piece) : require_unchanged(first, piece);
    }
  }
  return text("continuing after ", images, " of ", sampling_.count, " images");
}

void SampleFolder::check_complete() {
  std::vector<std::string> missing, altered;
  const auto is_there = [&](const std::string& name) {
    if (fs::exists(path_ / name)) return true;
    missing.push_back(name);
    return false;
  };
  const auto check_png = [&](const std::string& name, const Image& image) {
    if (is_there(name) && !is_png_of(read_regular_file(path_ / name, kLargestPng), image)) altered.push_back(name);
  };
  if (is_there(kSamplesFile) && !npz_->reopen(kept_sum(*earlier_))) altered.emplace_back(kSamplesFile);
  if (missing.empty() && altered.empty()) {
    const std::int64_t shown = std::min(sampling_.count, kGridImages);
    check_png(kGrid, image_grid(npz_->read(0, shown)));
    for (std::int64_t first = 0; sampling_.with_pngs && first < sampling_.count; first += kPieceOfSamples) {
      const at::Tensor images = npz_->read(first, std::min(kPieceOfSamples, sampling_.count - first));
      for (std::int64_t i = 0; i < images.size(0); ++i) check_png(png_name(first + i), to_image(images[i]));
    }
  }
  if (missing.empty() && altered.empty()) return;
  const auto said = [](const std::vector<std::string>& names, const char* what) {
    return names.empty() ? "" : text(shortened(names), names.size() == 1 ? " is " : " are ", what);
  };
  throw ConfigError(text("sample: the sampling in ", quoted(path_.string()), " was complete, but now ",
                         said(missing, "missing"), missing.empty() || altered.empty() ? "" : ", and ",
                         said(altered, "damaged or altered"),
                         ". Restore the files, choose another folder, or pass --overwrite to draw it again"));
}

/// Prepares the folder for this sampling.
void SampleFolder::start() {
  remove_leftovers(path_);
  std::vector<fs::path> obsolete;
  for (const auto& entry : fs::directory_iterator(path_)) {
    if (!earlier_ || entry.is_directory() || !is_of_sampling(entry.path().filename().string(), *earlier_)) continue;
    obsolete.push_back(entry.path());
  }
  for (const fs::path& file : obsolete) fs::remove(file);
  write_record(false);
  try {
    npz_->start();
  } catch (...) {
    std::error_code ignored;
    fs::remove(path_ / kSamplingRecord, ignored);
    throw;
  }
  is_started_ = true;
}

void SampleFolder::write_record(bool is_complete) const {
  Value record = record_of(sampling_);
  Value drawn{Value::Table{}};
  if (!is_complete) {
    drawn.set("images", npz_->images());
    drawn.set("crc32", static_cast<std::int64_t>(npz_->checksum()));
  } else {
    const NpzFile::Sum& sum = npz_->sum();
    drawn.set("npz", Value(Value::Table{{"bytes", sum.bytes}, {"crc32", static_cast<std::int64_t>(sum.crc32)}}));
  }
  drawn.set("complete", is_complete);
  record.set("drawn", std::move(drawn));
  write_file(path_ / kSamplingRecord, to_json(record, 1) + "\n");
}

void SampleFolder::require_in_place() const {
  const std::optional<fs::path> now = lock_ >= 0 ? moved_to(lock_, path_) : std::nullopt;
  if (!now) return;
  throw Error(text("the folder ", quoted(path_.string()), " was ",
                   now->empty() ? "removed" : text("moved to ", quoted(now->string())),
                   " while images were drawn into it; nothing more is written"));
}

void SampleFolder::add(const at::Tensor& images) {
  require_in_place();
  if (!is_started_) start();
  const std::int64_t first = npz_->images();
  npz_->append(images);
  write_record(false);
  write_pngs(first, images);
}

/// Throws ConfigError if somebody has changed the picture of one of the images.
void SampleFolder::require_unchanged(std::int64_t first, const at::Tensor& images) const {
  if (!sampling_.with_pngs) return;
  for (std::int64_t i = 0; i < images.size(0); ++i) {
    const fs::path file = path_ / png_name(first + i);
    std::error_code missing;
    if (!fs::exists(file, missing)) continue;
    const std::string content = read_regular_file(file, kLargestPng);
    const Image image = to_image(images[i]);
    if (is_png_of(content, image) || is_all_zero(content)) continue;
    if (encode_png(image, png_text(sampling_, first + i)).starts_with(content)) continue;  // cut by a crash
    throw ConfigError(text(quoted(file.string()),
                           " was changed since it was drawn, and going on would replace it. Choose another folder, or "
                           "move it away"));
  }
}

/// Files that already have the right content, byte for byte, are left alone.
void SampleFolder::write_pngs(std::int64_t first, const at::Tensor& images) const {
  if (!sampling_.with_pngs) return;
  for (std::int64_t i = 0; i < images.size(0); ++i) {
    const fs::path file = path_ / png_name(first + i);
    const std::string content = encode_png(to_image(images[i]), png_text(sampling_, first + i));
    std::error_code missing;
    if (fs::file_size(file, missing) == content.size() && !missing && read_file(file) == content) continue;
    AtomicFile out(file);
    out.write(content);
    out.commit(false);
  }
}

void SampleFolder::finish() {
  require_in_place();
  sync_folder(path_);
  const std::int64_t shown = std::min(sampling_.count, kGridImages);
  write_png(path_ / kGrid, image_grid(npz_->read(0, shown)), png_text(sampling_, std::nullopt));
  npz_->finish(sampling_.label, kSamplingRecord, to_json(record_of(sampling_), 1) + "\n");
  write_record(true);
  is_complete_ = true;
}

}  // namespace casdm
