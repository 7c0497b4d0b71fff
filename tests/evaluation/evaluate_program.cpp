#include "evaluation/evaluate_program.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "casdm/text.h"
#include "framework/support/files.h"

namespace casdm::testing {

namespace fs = std::filesystem;

void train_small(const fs::path& folder, const std::string& more, const std::string& words) {
  write_small_config(folder, kJudges + more);
  const Outcome train = shell(
      "casdm train small.toml --set train.total_images=8 --set log.sample_count=0" + kPlugin + " " + words, folder);
  REQUIRE_MESSAGE(train.status == 0, train.err);
}

Outcome evaluate(const std::string& words, const fs::path& folder) {
  return shell("CASDM_CACHE=cache casdm evaluate " + words + kPlugin, folder);
}

Value json_of(const Outcome& outcome) {
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  return from_json(outcome.out);
}

const Value& entry_of(const Value& value, const std::string& key) {
  const Value* found = value.find(key);
  REQUIRE_MESSAGE(found != nullptr, key);
  return *found;
}

const Value& evaluation(const Value& json, std::size_t index) {
  return entry_of(json, "evaluations").as_array().at(index);
}

double score(const Value& record, const std::string& name) {
  for (const Value& entry : entry_of(record, "scores").as_array()) {
    if (entry_of(entry, "name") == Value(name)) return entry_of(entry, "value").as_number();
  }
  FAIL("no score " << name);
  return 0;
}

std::vector<fs::path> records_in(const fs::path& run) {
  std::vector<fs::path> result;
  for (const auto& entry : fs::directory_iterator(run / "evaluation")) result.push_back(entry.path());
  std::sort(result.begin(), result.end());
  return result;
}

}  // namespace casdm::testing
