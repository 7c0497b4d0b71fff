#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "casdm/value.h"
#include "framework/reporting/npz_file.h"

namespace casdm {

/// What is drawn into a folder.
struct Sampling {
  std::int64_t count = 0;
  std::int64_t channels = 3;
  std::int64_t image_size = 32;
  bool with_pngs = true;
  std::function<std::int64_t(std::int64_t)> label;  ///< of the image of an index; empty: unconditional
  Value origin;                                     ///< a table of where the weights were found: run, checkpoint
  Value settings;                                   ///< a table of all that decides what the images are
};

/// The folder of one sampling:
///
///     sampling.json      what made it, and how many images are drawn
///     000000.png ...     one for each image, unless they are left out
///     grid.png           the first 64
///     samples.npz        see NpzFile; samples.npz.part until all images are drawn
///
/// The images of a batch are on the disk before sampling.json counts them, so a sampling that was interrupted goes on
/// after the last whole batch. Since an image is a function of the settings and its index, it ends as it would have.
class SampleFolder {
 public:
  /// Reads sampling.json, where there is one. Throws ConfigError when `path` is not a folder.
  explicit SampleFolder(std::filesystem::path path);
  ~SampleFolder();
  SampleFolder(const SampleFolder&) = delete;
  SampleFolder& operator=(const SampleFolder&) = delete;

  /// Whether there is a sampling that was not drawn to its end.
  bool is_unfinished() const;

  /// The name of the checkpoint that an unfinished sampling draws from; empty when there is no such sampling.
  std::string unfinished_checkpoint() const;

  /// The number of threads that the earlier sampling took, on which the last bits of images depend; 0: there is none.
  std::int64_t earlier_threads() const;

  /// Takes the folder for `sampling`, alone: a new one, or an earlier one of the same settings, which goes on. Nothing
  /// is written before the first `add`. Returns a remark for the user, or nothing.
  ///
  /// Throws ConfigError when the folder holds another sampling (with the differences), a complete one whose files are
  /// not as they were drawn (with their names), or files of the names that it would write and no sampling.json accounts
  /// for. With `overwrite` what another sampling, or a complete one, made is
  /// removed, by its sampling.json, and files that say themselves that they are of a sampling are replaced; others are
  /// refused still.
  /// Throws Error when another process draws into the folder.
  std::string begin(Sampling sampling, bool overwrite);

  /// How many images are drawn, and whether everything is there.
  std::int64_t images() const { return npz_ ? npz_->images() : 0; }
  bool is_complete() const { return is_complete_; }

  /// Adds the next images: uint8 [n, C, H, W]. Throws Error when they cannot be written.
  void add(const at::Tensor& images);

  /// Images first..first+count-1 of those that are drawn, uint8 [count, C, H, W]; before `finish`.
  at::Tensor read(std::int64_t first, std::int64_t count) const { return npz_->read(first, count); }

  /// Writes what remains once all images are there.
  void finish();

  std::filesystem::path grid() const { return path_ / "grid.png"; }

 private:
  std::optional<Value> read_record() const;
  void hold();
  void refuse_strangers(bool overwrite) const;
  std::string go_on();
  void start();
  void write_record(bool is_complete) const;
  void write_pngs(std::int64_t first, const at::Tensor& images) const;
  void check_complete();

  std::filesystem::path path_;
  std::optional<Value> earlier_;  ///< sampling.json as it was found
  Sampling sampling_;
  std::optional<NpzFile> npz_;
  int lock_ = -1;
  bool is_record_ours_ = false;  ///< a sampling.json that cannot be used, and that this program has written
  bool is_new_folder_ = false;
  bool is_started_ = false;
  bool is_complete_ = false;
};

}  // namespace casdm
