#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "casdm/value.h"

namespace casdm {

/// The outcome of the first trial of one build of a plugin, remembered between runs by its build id in
/// `$XDG_STATE_HOME/casdm/plugins` (or ~/.local/state/casdm/plugins).
///
/// A plugin without a build id has no record, and nothing is remembered if the folder cannot be written.
class LoadRecord {
 public:
  explicit LoadRecord(std::string build_id);

  /// Whether `what` ("load", "metric_loss/NAME") has succeeded before.
  bool is_good(const std::string& what) const;
  void add_good(const std::vector<std::string>& what);

  /// Why this build is not used: "crashed while ...: ... (time)"; empty if it did not crash.
  std::string crash() const;
  void set_crash(const std::string& description);

  /// Forgets all crashes; returns how many there were.
  static std::size_t forget_crashes();

  /// The folder of the records; nothing if there is no home directory.
  static std::optional<std::filesystem::path> folder();

 private:
  Value read() const;
  void write(const Value& record) const;

  std::filesystem::path file_;  ///< empty: no record
};

}  // namespace casdm
