#pragma once

#include <string>
#include <vector>

#include "framework/comparison/sweep_file.h"

/// `evaluate` of a sweep file: options of `casdm evaluate`.
namespace casdm {

/// Throws ConfigError, with the place in `document`, at a word that is no option of `casdm evaluate`, lacks its value,
/// names a file that is not there, or means more than how runs are judged: a sweep file may come from elsewhere, so it
/// loads no plugin, writes no file of its choice and replaces nothing.
void check_evaluation(const std::vector<std::string>& words, const Value& document);

/// What decides the scores of a cell: the words, and what the files say that they name; null where nothing is
/// evaluated.
Value evaluation_of(const Sweep& sweep);

}  // namespace casdm
