#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "casdm/value.h"
#include "framework/reporting/npz_file.h"

namespace casdm {

/// The images to be drawn into a folder.
struct Sampling {
  std::int64_t count = 0;
  std::int64_t channels = 3;
  std::int64_t image_size = 32;
  bool with_pngs = true;
  std::function<std::int64_t(std::int64_t)> label;  ///< of the image at an index; empty: unconditional
  Value origin;                                     ///< a table that says where the weights come from: run, checkpoint
  Value settings;                                   ///< a table of everything that decides the images
};

/// The folder of one sampling:
///
///     sampling.json      how it was made, and how many images are drawn so far
///     000000.png ...     one for each image, unless they are left out
///     grid.png           the first 64
///     samples.npz        see NpzFile; samples.npz.part until all images are drawn
///
/// The images of a batch are on disk before sampling.json counts them, so an interrupted sampling continues after the
/// last complete batch. Since an image is a function of the settings and its index, the result is the same as without
/// the interruption.
class SampleFolder {
 public:
  /// Reads sampling.json, if there is one. Throws ConfigError if `path` is not a folder.
  explicit SampleFolder(std::filesystem::path path);
  ~SampleFolder();
  SampleFolder(const SampleFolder&) = delete;
  SampleFolder& operator=(const SampleFolder&) = delete;

  /// Whether there is a sampling that was not completed.
  bool is_unfinished() const;

  /// What a user asks samples of: a run, by its newest checkpoint, its link to the best, or one checkpoint.
  enum class Source { run, best, checkpoint };

  /// The name of the checkpoint that an unfinished sampling uses; empty if there is none, or if it was begun of another
  /// kind of source.
  std::string unfinished_checkpoint(Source source) const;

  /// The number of threads that the earlier sampling used, which affects the last bits of images; 0: there is none.
  std::int64_t earlier_threads() const;

  /// Takes exclusive possession of the folder for `sampling`: a new folder, or one with an earlier sampling of the same
  /// settings, which is continued. Nothing is written before the first `add`. Returns a remark for the user, or an
  /// empty string.
  ///
  /// Throws ConfigError if the folder contains another sampling (listing the differences), a complete one whose files
  /// have changed since (listing their names), files with names that it would write and that no sampling.json accounts
  /// for, or files that somebody has put in the place of its own. With `overwrite`, the files of another or a complete
  /// sampling, as listed in its sampling.json, are removed, and files that themselves say that they belong to a
  /// sampling are replaced; others are still refused. Throws Error if another process draws into the folder.
  std::string begin(Sampling sampling, bool overwrite);

  /// How many images are drawn, and whether everything is written.
  std::int64_t images() const { return npz_ ? npz_->images() : 0; }
  bool is_complete() const { return is_complete_; }

  /// Adds the next images: uint8 [n, C, H, W]. Throws Error if they cannot be written.
  void add(const at::Tensor& images);

  /// Images first..first+count-1 of those drawn so far, uint8 [count, C, H, W]; before `finish`.
  at::Tensor read(std::int64_t first, std::int64_t count) const { return npz_->read(first, count); }

  /// Writes everything else once all images are drawn.
  void finish();

  std::filesystem::path grid() const { return path_ / "grid.png"; }

 private:
  void hold();
  void require_in_place() const;
  void refuse_strangers(bool overwrite) const;
  std::vector<std::string> strangers_if(bool overwrite) const;
  std::string go_on();
  void start();
  void write_record(bool is_complete) const;
  void require_unchanged(std::int64_t first, const at::Tensor& images) const;
  void write_pngs(std::int64_t first, const at::Tensor& images) const;
  void check_complete();

  std::filesystem::path path_;
  std::optional<Value> earlier_;  ///< sampling.json as it was found
  Sampling sampling_;
  std::optional<NpzFile> npz_;
  int lock_ = -1;
  bool is_record_ours_ = false;  ///< sampling.json cannot be used, but this program wrote it
  bool is_new_folder_ = false;
  bool is_started_ = false;
  bool is_complete_ = false;
};

}  // namespace casdm
