#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace casdm::conformance {

struct RunOptions {
  std::filesystem::path library;
  std::string filter;                  ///< part of "component/test"; empty: all
  std::vector<std::string> overrides;  ///< "component/option=value"
  std::uint64_t seed = 0;
  double timeout = 60;  ///< seconds a test may take
  bool is_strict = false;
  std::string device = "cpu";  ///< for `test_device`; if it is not the CPU, the device's tests run too
};

struct Result {
  std::string component;
  std::string kind;
  std::string test;
  std::string outcome;  ///< "passed", "failed", "skipped", "not tested", "crashed", "timed out"
  std::string message;  ///< why, and what the plugin printed before it died
  double seconds = 0;

  bool is_good() const { return outcome == "passed" || outcome == "skipped"; }
};

/// Runs every test that applies to every component of a library, each in its own process, so that a crash or a hang
/// ends only that test. Nothing of the plugin is loaded into this process. Throws PluginError if the library cannot be
/// tested at all (no note, a different stamp).
std::vector<Result> run(const RunOptions& options, void (*on_result)(const Result&) = nullptr);

}  // namespace casdm::conformance
