#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "casdm/value.h"

namespace casdm {

/// What happened to one build of a plugin when it was first tried, remembered between runs by its build id in
/// `$XDG_STATE_HOME/casdm/plugins` (or ~/.local/state/casdm/plugins).
///
/// A plugin without a build id has no record, and nothing is remembered where the folder cannot be written.
class LoadRecord {
 public:
  explicit LoadRecord(std::string build_id);

  /// Whether `what` ("load", "metric_loss/NAME") has gone well before.
  bool is_good(const std::string& what) const;
  void add_good(const std::vector<std::string>& what);

  /// Why this build is left alone: "crashed while ...: ... (time)"; empty when it did not crash.
  std::string crash() const;
  void set_crash(const std::string& description);

  /// Forgets all crashes; returns how many there were.
  static std::size_t forget_crashes();

  /// The folder of the records; nothing where there is no home.
  static std::optional<std::filesystem::path> folder();

 private:
  Value read() const;
  void write(const Value& record) const;

  std::filesystem::path file_;  ///< empty: no record
};

}  // namespace casdm
