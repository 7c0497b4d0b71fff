#pragma once

#include <filesystem>
#include <string>

#include "framework/support/files.h"
#include "integration/program.h"
#include "support/components.h"

namespace casdm::testing {

inline constexpr const char* kTwoArms = R"(
name = "two"
base = "small.toml"
seeds = [0, 1]

[[arms]]
name = "plain"
set = ["metrics=[]"]

[[arms]]
name = "l1"
)";

/// A folder with an experiment that takes seconds and a sweep over it.
struct Study {
  explicit Study(const std::string& sweep = kTwoArms) {
    write_small_config(folder.path());
    write(sweep);
  }
  void write(const std::string& sweep) const { write_file(folder.path() / "sweep.toml", sweep); }
  Outcome run(const std::string& options, const std::string& before = "") const {
    return shell(before + "casdm sweep sweep.toml " + options, folder.path());
  }
  std::filesystem::path path(const std::string& name) const { return folder.path() / name; }
  std::string content(const std::string& name) const { return read_file(path(name)); }

  TemporaryFolder folder;
};

}  // namespace casdm::testing
