#include "support/golden.h"

#include <doctest/doctest.h>
#include <errno.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <tuple>

#include "casdm/text.h"
#include "casdm/value.h"

namespace casdm::testing {

namespace fs = std::filesystem;

namespace {

/// A row of the table: the result for one quantity.
struct Row {
  Quantity quantity;
  std::string version;
  std::int64_t cases = 0;
  double largest = 0;
  bool has_rounding = false;  ///< whether the peer's own rounding is added to the bound
  std::string place;
};

/// The rows of this program, written when it ends.
class Report {
 public:
  ~Report() {
    if (rows_.empty() || folder().empty()) return;
    fs::create_directories(folder());
    std::ofstream out(folder() / text(program_invocation_short_name, ".jsonl"));
    for (const auto& [key, row] : rows_) {
      Value line{Value::Table{}};
      line.set("component", row.quantity.component);
      line.set("quantity", row.quantity.name);
      line.set("peer", row.quantity.peer);
      line.set("version", row.version);
      line.set("cases", row.cases);
      line.set("largest", std::isfinite(row.largest) ? Value(row.largest) : Value("infinite"));
      line.set("bound", row.quantity.bound);
      line.set("has_rounding", row.has_rounding);
      line.set("place", row.place);
      out << to_json(line) << '\n';
    }
  }

  void add(const Quantity& q, const std::string& version, const std::string& place, double difference,
           double rounding) {
    Row& row = rows_[{q.component, q.name, q.peer, version, q.bound}];
    row.quantity = q;
    row.version = version;
    row.has_rounding = row.has_rounding || rounding > 0;
    ++row.cases;
    if (row.cases > 1 && difference <= row.largest) return;
    row.largest = difference;
    row.place = place;
  }

 private:
  static fs::path folder() {
    if (const char* chosen = std::getenv("CASDM_PARITY_REPORT")) return chosen;
    return std::getenv("CASDM_PARITY_DIR") == nullptr ? fs::path(CASDM_PARITY_REPORT_DIR) : fs::path();
  }

  std::map<std::tuple<std::string, std::string, std::string, std::string, double>, Row> rows_;
};

}  // namespace

void measured(const Quantity& quantity, const std::string& version, const std::string& place, double difference,
              double rounding) {
  static Report report;
  report.add(quantity, version, place, difference, rounding);
  std::cout << std::left << std::setw(72) << place << "  " << std::setprecision(3) << difference << '\n';
  const bool holds = quantity.bound > 0 ? difference < quantity.bound + rounding : difference == 0;
  CHECK_MESSAGE(holds, quantity.component << ", " << quantity.name << ": " << place << " differs from " << quantity.peer
                                          << " by " << difference << ", allowed " << quantity.bound + rounding);
}

std::vector<fs::path> golden_files(const std::string& prefix, const std::string& extension) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(parity_dir())) {
    const fs::path& path = entry.path();
    if (path.filename().string().starts_with(prefix) && path.extension() == extension) files.push_back(path);
  }
  std::sort(files.begin(), files.end());
  if (files.empty()) {
    MESSAGE("no ", prefix, "*", extension, " in ", parity_dir().string());
    CHECK(std::getenv("CASDM_PARITY_DIR") != nullptr);
  }
  return files;
}

std::string peer_version(const std::map<std::string, std::string>& metadata, const std::string& peer) {
  static const std::map<std::string, std::string> committed = {
      {"guided-diffusion", "22e0df8"}, {"lpips", "0.1.4"},        {"stlpips-pytorch", "0.0.2"}, {"piq", "0.8.0"},
      {"diffusers", "0.42.1"},         {"NVlabs/edm", "008a4e5"}, {"DISTS-pytorch", "0.1"}};
  if (const auto peers = metadata.find("peers"); peers != metadata.end()) {
    const Value versions = from_json(peers->second);
    if (const Value* version = versions.find(peer)) return version->as_string();
  }
  if (const auto found = metadata.find(peer); found != metadata.end()) return found->second;
  const auto found = committed.find(peer);
  REQUIRE_MESSAGE(found != committed.end(), "no version of the peer " << peer << " is known");
  return found->second;
}

const std::string& GoldenFile::metadata(const std::string& key) const {
  const auto found = file_.metadata.find(key);
  REQUIRE_MESSAGE(found != file_.metadata.end(), name_ << " has no metadata '" << key << "'");
  return found->second;
}

void GoldenFile::compare(const Tensor& ours, const std::string& name, const Quantity& quantity, double rounding) {
  const Tensor& golden = (*this)[name];
  const std::string place = name_ + ": " + name;
  if (ours.sizes() != golden.sizes()) {
    FAIL_CHECK(place, " has shape ", golden.sizes(), ", ours ", ours.sizes());
    return;
  }
  measured(quantity, version(quantity.peer), place, max_relative_difference(ours, golden), rounding);
}

void GoldenFile::finish(const std::vector<std::string>& suffixes) const {
  for (const auto& [name, tensor] : file_.tensors) {
    const bool is_ours = std::any_of(suffixes.begin(), suffixes.end(),
                                     [&name = name](const std::string& suffix) { return name.ends_with(suffix); });
    if (is_ours && !used_.contains(name)) FAIL_CHECK("nothing checks ", name, " of ", name_);
  }
}

}  // namespace casdm::testing
