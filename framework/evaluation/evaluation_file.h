#pragma once

#include <filesystem>
#include <optional>
#include <set>
#include <string>

#include "framework/evaluation/drawn_images.h"
#include "framework/evaluation/record.h"

namespace casdm {

/// The file of one evaluation in a run's folder: RUN/evaluation/<images>-<weights>-<key>.json, where the key is a
/// function of everything that decides the scores: equal evaluations have the same file, and different ones do not.
class EvaluationFile {
 public:
  /// @param run  the folder; empty: nothing is stored
  EvaluationFile(const std::filesystem::path& run, const DrawnImages& images, std::int64_t num,
                 const Reference& reference, const Judges& judges);

  const std::filesystem::path& path() const { return path_; }

  /// The state of an interrupted evaluation, beside the record; empty if path() is.
  std::filesystem::path state() const;

  /// The record, if it exists and can be read.
  std::optional<Value> read() const;

  /// The file for what `--nearest` finds for these images with `settings`: RUN/evaluation/nearest-<key>.json; empty if
  /// path() is.
  std::filesystem::path nearest(const Value& settings) const;

  /// The number of threads that an earlier evaluation used, complete or not; 0: there is none.
  std::int64_t earlier_threads() const;

  /// Throws Error.
  void write(const Value& record) const;

  /// How the images of a run were drawn, for `Evaluation::run`.
  Value run_table(const std::string& name, const DrawnImages& images) const;

 private:
  std::filesystem::path run_;
  std::set<std::string> names_;  ///< of the scores
  std::filesystem::path path_;
};

/// Writes or reads a sealed record; if `path` is empty, nothing is written and there is nothing to read. Throws Error.
void write_record(const std::filesystem::path& path, const Value& record);
std::optional<Value> read_record(const std::filesystem::path& path);

/// Stores what real images score against others in RUN/evaluation/floor-<key>.json, for reports. Throws Error.
/// @param run  the folder; empty: nothing is stored
void keep_floor(const std::filesystem::path& run, const Value& record);

}  // namespace casdm
