#pragma once

#include <filesystem>
#include <string>

#include "support/messages.h"

namespace casdm::testing {

/// The result of a command.
struct Outcome {
  int status = -1;
  std::string out;
  std::string err;
};

/// Runs a shell command line in `folder`, with `casdm` standing for the program of this build. A line that is just one
/// command is run without starting LibTorch anew (WarmProgram).
Outcome shell(const std::string& command_line, const std::filesystem::path& folder);

/// Writes an experiment that takes seconds (shapes at 16 px, Cas-DM with l1) to folder/small.toml.
std::filesystem::path write_small_config(const std::filesystem::path& folder, const std::string& more = "");

}  // namespace casdm::testing
