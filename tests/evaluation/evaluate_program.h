#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "casdm/value.h"
#include "integration/program.h"

namespace casdm::testing {

/// The library with the tests' judges, as an argument.
inline const std::string kPlugin = " --plugin " CASDM_TEST_PLUGIN_DIR "/judging.so";

/// The part of an experiment that chooses the tests' judges.
inline const std::string kJudges =
    "[evaluate]\nnum = 80\n[[evaluate.judges]]\ntype = \"cells\"\nmetrics = [{ type = \"moments_gap\" }]\n";

/// A short run with these judges and its own cache: runs/small, unless `words` say otherwise.
void train_small(const std::filesystem::path& folder, const std::string& more = "", const std::string& words = "");

Outcome evaluate(const std::string& words, const std::filesystem::path& folder);

/// The JSON that a command printed, which must have succeeded.
Value json_of(const Outcome& outcome);

const Value& entry_of(const Value& value, const std::string& key);
const Value& evaluation(const Value& json, std::size_t index = 0);
double score(const Value& record, const std::string& name);

/// The files in the run's evaluation/, sorted.
std::vector<std::filesystem::path> records_in(const std::filesystem::path& run);

}  // namespace casdm::testing
