#pragma once

#include <doctest/doctest.h>

#include <sstream>
#include <string>
#include <vector>

#include "casdm/value.h"
#include "framework/support/files.h"
#include "integration/program.h"
#include "support/components.h"

namespace casdm::testing {

inline constexpr const char* kResume = "casdm train --resume runs/small";

/// A folder in which the small experiment was trained.
struct Trained {
  explicit Trained(const std::string& set = "") {
    write_small_config(folder.path());
    const Outcome outcome = run("casdm train small.toml " + set);
    REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  }
  Outcome run(const std::string& command) const { return shell(command, folder.path()); }

  /// The records of its log.
  std::vector<Value> records() const {
    std::vector<Value> result;
    std::istringstream lines(read_file(folder.path() / "runs/small/metrics.jsonl"));
    for (std::string line; std::getline(lines, line);) result.push_back(from_json(line));
    return result;
  }

  TemporaryFolder folder;
};

}  // namespace casdm::testing
