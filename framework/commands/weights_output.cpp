#include "framework/commands/weights_output.h"

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/interchange/weights_folder.h"
#include "framework/support/run_contents.h"
#include "framework/support/tensor_file_header.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr const char* kMadeBy = "made_by";
}  // namespace

void check_output(const WeightsOutput& output, const std::string& file, const std::string& config) {
  refuse_inside_run(output.command, output.path);
  std::error_code failure;
  const std::string name = quoted(output.path.string());
  if (!output.input.empty() && fs::equivalent(output.path, output.input, failure)) {
    throw ConfigError(text(output.command, ": ", name, " is the input; choose another name with --out"));
  }
  if (!fs::exists(fs::symlink_status(output.path, failure))) return;
  if (!output.overwrite) {
    throw ConfigError(text(output.command, ": ", name, " exists; choose another name or pass --overwrite"));
  }
  if (fs::is_regular_file(output.path, failure) || fs::is_directory(output.path, failure)) {
    if (fs::is_empty(output.path, failure) && !failure) return;
    const auto metadata = metadata_of_file(file.empty() ? output.path : output.path / file);
    const auto maker = metadata.find(kMadeBy);
    if (maker != metadata.end() && maker->second == "casdm " + output.command) {
      if (config.empty() || has_written_config(output.path, config, metadata)) return;
      throw ConfigError(text(output.command, ": ", quoted((output.path / config).string()),
                             " is not the one that the weights beside it record: it was changed, or an earlier version "
                             "wrote both, so --overwrite does not replace it; choose another name, or move it away"));
    }
  }
  throw ConfigError(text(output.command, ": ", name, " was not made by `casdm ", output.command,
                         "`, so --overwrite does not replace it; choose another name, or move it away"));
}

std::map<std::string, std::string> marked(std::map<std::string, std::string> metadata, const std::string& command) {
  metadata[kMadeBy] = "casdm " + command;
  return metadata;
}

}  // namespace casdm
