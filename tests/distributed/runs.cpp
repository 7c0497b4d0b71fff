#include "distributed/runs.h"

#include <doctest/doctest.h>

#include <cmath>
#include <sstream>

namespace casdm::testing {

namespace fs = std::filesystem;

const char* const kEverything = R"([timesteps]
type = "loss_second_moment"
[[metrics]]
type = "relative_l1"
t_range = [0.0, 0.8]
[[metrics]]
type = "l1"
t_range = [0.0, 0.3]
[ema]
decay = 0.9
)";

const std::string kPlugins =
    " --plugin '" CASDM_TEST_PLUGIN_DIR "/research.so' --plugin '" CASDM_TEST_PLUGIN_DIR "/metric_faulty.so'";

std::string train(const fs::path& folder, int processes, const std::string& arguments, const Environment& more) {
  Processes run(folder, {arguments}, environments(processes, more));
  run.wait();
  for (int rank = 0; rank < processes; ++rank) REQUIRE_MESSAGE(run.status(rank) == 0, run.output());
  return run.output();
}

double largest_difference(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    const double x = a.as_number(), y = b.as_number();
    return x == y ? 0 : std::abs(x - y) / std::max(std::abs(x), std::abs(y));
  }
  double largest = 0;
  if (a.is_table() && b.is_table() && a.as_table().size() == b.as_table().size()) {
    for (const auto& [key, value] : a.as_table()) {
      const Value* other = b.find(key);
      largest = std::max(largest, other == nullptr ? INFINITY : largest_difference(value, *other));
    }
    return largest;
  }
  if (a.is_array() && b.is_array() && a.as_array().size() == b.as_array().size()) {
    for (std::size_t i = 0; i < a.as_array().size(); ++i) {
      largest = std::max(largest, largest_difference(a.as_array()[i], b.as_array()[i]));
    }
    return largest;
  }
  return a == b ? 0 : INFINITY;
}

std::map<std::int64_t, Value> log_of(const fs::path& run) {
  std::map<std::int64_t, Value> result;
  std::istringstream lines(read_file(run / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const Value record = from_json(line);
    if (record.find("loss") == nullptr) continue;
    Value said{Value::Table{}};
    for (const char* key : {"loss", "statistic", "grad_norm", "learning_rate"}) said.set(key, *record.find(key));
    result[record.find("images")->as_integer()] = said;
  }
  return result;
}

void check_same(const fs::path& run, const fs::path& other, double tolerance) {
  const auto a = log_of(run), b = log_of(other);
  REQUIRE(a.size() == 6);
  REQUIRE(a.size() == b.size());
  for (const auto& line : a) {
    const Value& said = b.at(line.first);
    const double found = largest_difference(line.second, said);
    CHECK_MESSAGE(found <= tolerance, other.filename(), " at ", line.first, ": ", found, '\n', to_json(line.second),
                  '\n', to_json(said));
  }
}

}  // namespace casdm::testing
