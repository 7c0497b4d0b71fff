#include "bad_plugins/cage.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <regex>
#include <sstream>

#include "casdm/plugin_description.h"
#include "casdm/text.h"
#include "framework/loading/stamp.h"
#include "framework/support/files.h"

namespace casdm::testing {

namespace fs = std::filesystem;

namespace {

/// Without the lines at the start of a training about what it will do.
std::string without_start(const std::string& text) {
  static const std::regex start("(data|device|networks|metrics|steps): .*|changed at .*|[0-9]+ threads?( .*|,.*)?");
  std::istringstream lines(text);
  std::string result;
  for (std::string line; std::getline(lines, line);) {
    if (!std::regex_match(line, start)) result += line + "\n";
  }
  return result;
}

}  // namespace

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

std::string stamp_value(std::string_view stamp, const std::string& field) {
  for (const auto& [name, value] : parse_stamp(stamp)) {
    if (name == field) return value;
  }
  return "";
}

std::string other_libtorch() {
  std::string version = stamp_value(host_stamp(), "libtorch");
  version[2] = version[2] == '9' ? '8' : '9';
  return version;
}

Cage::Cage() {
  const fs::path file = write_small_config(folder_.path(), "[plugins]\npaths = [\"plugins\"]\n");
  std::string config = read_file(file);
  replace_all(config, "type = \"l1\"", "type = \"zoo\"");
  write_file(file, config);
  fs::create_directory(folder_.path() / "plugins");
}

void Cage::admit(const std::string& from, const std::string& to) const {
  std::string bytes = read_file(CASDM_ZOO_PLUGIN);
  REQUIRE(from.size() == to.size());
  if (!from.empty()) {
    REQUIRE(bytes.find(from) != std::string::npos);
    replace_all(bytes, from, to);
  }
  write_file(plugin(), bytes);
}

Outcome Cage::run(const std::string& command, const std::string& wish) const {
  const bool hangs = wish.find("hang") != std::string::npos;
  return shell(text("export CASDM_TRUST_PLUGINS=1 XDG_STATE_HOME=\"$PWD/state\" XDG_DATA_HOME=\"$PWD/data\"; ",
                    hangs ? "export CASDM_PROBE_TIMEOUT=2; " : "", "export CASDM_ZOO='", wish,
                    "'; unset CASDM_PLUGIN_PATH; ", command),
               path());
}

std::string Cage::settled(std::string text) const {
  text = without_start(text);
  replace_all(text, path().string(), "FOLDER");
  replace_all(text, fs::path(CASDM_PROGRAM).parent_path().parent_path().string(), "PREFIX");
  replace_all(text, "SDK (casdm " + stamp_value(host_stamp(), "sdk_version"), "SDK (casdm VERSION");
  replace_all(text, stamp_value(host_stamp(), "sdk_headers"), "HEADERS");
  replace_all(text, stamp_value(host_stamp(), "libtorch"),
              "X.YY.Z");  // of the same length, for the columns of tables
  replace_all(text, other_libtorch(), "X.99.Z");
  text = std::regex_replace(text, std::regex("\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ"), "TIME");
  text = std::regex_replace(text, std::regex("available: [^\n]*"), "available: ...");
  text = std::regex_replace(text, std::regex("threads, from \\d+ to \\d+"), "threads, from N to M");
  return std::regex_replace(text, std::regex("\\b[0-9a-f]{64}\\b"), "SHA256");
}

void says(const Cage& cage, const std::string& name, int status, const std::string& command, const std::string& wish) {
  CAPTURE(name);
  const Outcome outcome = cage.run(command, wish);
  CHECK(outcome.status == status);
  const std::string text = cage.settled(outcome.err);
  const fs::path golden = fs::path(CASDM_GOLDEN) / (name + ".txt");
  if (std::getenv("CASDM_UPDATE_GOLDEN") != nullptr) write_file(golden, text);
  REQUIRE(fs::exists(golden));
  CHECK(text == read_file(golden));
}

}  // namespace casdm::testing
