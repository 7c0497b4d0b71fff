#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "framework/comparison/sweep_file.h"

/// `evaluate` of a sweep file: options of `casdm evaluate`.
namespace casdm {

/// Throws ConfigError, with the place in `document`, at a word that is no option of `casdm evaluate`, lacks its value
/// or has one that it cannot have, names a file that is not there, or means more than how runs are judged: a sweep file
/// may come from elsewhere, so it loads no plugin, writes no file of its choice and replaces nothing.
/// @param file  the sweep file, from which paths are relative
void check_evaluation(const std::vector<std::string>& arguments, const std::filesystem::path& file,
                      const Value& document);

/// Throws ConfigError when the experiment of an arm cannot be evaluated so: keys of [evaluate], of --config and --set,
/// and what --sampler, --steps, --eta, --guidance, --label and --weights ask for.
/// @param catalog_of  the components that a document of an experiment may choose from
void check_evaluated_arms(const Sweep& sweep, const Value& document,
                          const std::function<const ComponentCatalog&(const Value&)>& catalog_of);

/// As messages name a path: relative where it lies below the working directory.
std::filesystem::path shorter(const std::filesystem::path& path);

/// The words as the command takes them, with absolute paths.
std::vector<std::string> evaluation_words(const Sweep& sweep);

/// What decides the scores of a cell: the words, and what the files say that they name; null where nothing is
/// evaluated.
Value evaluation_of(const Sweep& sweep);

}  // namespace casdm
