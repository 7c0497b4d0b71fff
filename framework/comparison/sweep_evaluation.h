#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "framework/comparison/sweep_file.h"

/// The key `evaluate` of a sweep file: options of `casdm evaluate`.
namespace casdm {

/// Throws ConfigError, with its location in `document`, for an argument that is not an option of `casdm evaluate`,
/// lacks its value or has an invalid one, names a missing file, or decides more than how runs are judged: sweep files
/// may come from strangers, so `evaluate` cannot load plugins, choose which files to write or replace anything.
/// @param file  the sweep file; paths are relative to it
void check_evaluation(const std::vector<std::string>& arguments, const std::filesystem::path& file,
                      const Value& document);

/// Throws ConfigError if the experiment of an arm cannot be evaluated with these options: keys of [evaluate], of
/// --config and --set, and what --sampler, --steps, --eta, --guidance, --label and --weights ask for.
/// @param catalog_of  returns the components available to an experiment document
void check_evaluated_arms(const Sweep& sweep, const Value& document,
                          const std::function<const ComponentCatalog&(const Value&)>& catalog_of);

/// A path as messages show it: relative if it is below the working directory.
std::filesystem::path shorter(const std::filesystem::path& path);

/// The arguments for the command, with absolute paths.
std::vector<std::string> evaluation_words(const Sweep& sweep);

/// Everything that decides the scores of a cell: the arguments and the contents of the files they name; null if nothing
/// is evaluated.
Value evaluation_of(const Sweep& sweep);

}  // namespace casdm
