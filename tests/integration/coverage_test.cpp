#include <doctest/doctest.h>

#include <map>
#include <regex>
#include <set>

#include "casdm/value.h"
#include "casdm/weight_layout.h"
#include "framework/support/files.h"
#include "integration/program.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

/// "metric_ssim/ms_ssim" for each component of this build's plugins, without plugins from anywhere else.
std::set<std::string> our_components() {
  const TemporaryFolder folder;
  const Outcome list =
      shell("unset CASDM_PLUGIN_PATH; XDG_DATA_HOME=\"$PWD\" casdm plugins list --json", folder.path());
  REQUIRE_MESSAGE(list.status == 0, list.err);
  std::set<std::string> names;
  const Value plugins = from_json(list.out);
  for (const Value& plugin : plugins.as_array()) {
    for (const Value& component : plugin.find("components")->as_array()) {
      if (component.find("kind")->as_string() == WeightLayout::kind) continue;  // no experiment chooses one
      names.insert(plugin.find("id")->as_string() + "/" + component.find("name")->as_string());
    }
  }
  return names;
}

/// The components used in the resolved experiment `config`, including nested ones.
std::set<std::string> components_of(const fs::path& config) {
  const TemporaryFolder folder;
  const Outcome shown = shell("casdm config show '" + config.string() + "'", folder.path());
  REQUIRE_MESSAGE(shown.status == 0, config << "\n" << shown.err);
  const std::regex type("type = \"([^\"]+/[^\"]+)\"");
  std::set<std::string> names;
  for (auto match = std::sregex_iterator(shown.out.begin(), shown.out.end(), type); match != std::sregex_iterator();
       ++match) {
    names.insert((*match)[1]);
  }
  return names;
}

/// The sources of all tests, concatenated.
std::string test_sources() {
  std::string sources;
  for (const auto& entry : fs::recursive_directory_iterator(source_dir() / "tests")) {
    if (entry.path().extension() == ".cpp") sources += read_file(entry.path());
  }
  return sources;
}

}  // namespace

TEST_CASE("every component of ours appears in a shipped config") {
  std::set<std::string> missing = our_components();
  REQUIRE(missing.size() >= 30);
  for (const auto& entry : fs::directory_iterator(source_dir() / "configs")) {
    if (entry.path().extension() != ".toml") continue;
    for (const std::string& name : components_of(entry.path())) missing.erase(name);
  }
  for (const std::string& name : missing) FAIL_CHECK(name, " is in no experiment under configs/");
}

TEST_CASE("every component of ours is used by name in a test") {
  const std::string sources = test_sources();
  for (const std::string& full_name : our_components()) {
    const std::string name = full_name.substr(full_name.find('/') + 1);
    // As a separate C++ string, or inside one that contains TOML.
    const bool is_named = sources.find("\"" + name + "\"") != std::string::npos ||
                          sources.find("\\\"" + name + "\\\"") != std::string::npos;
    CHECK_MESSAGE(is_named, full_name << " is named in no test");
  }
}
