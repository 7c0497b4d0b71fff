#include <doctest/doctest.h>

#include <filesystem>
#include <map>
#include <regex>
#include <set>

#include "casdm/text.h"
#include "framework/commands/plugins_new.h"
#include "framework/config/experiment.h"
#include "framework/conformance/suites.h"
#include "framework/loading/kinds.h"
#include "framework/support/files.h"
#include "support/components.h"
#include "support/messages.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

const fs::path kSdk = source_dir() / "sdk";

/// The kinds declared in the SDK's headers, and the versions of their interfaces.
std::map<std::string, int> declared_kinds() {
  const std::regex declaration(
      R"re(std::string_view kind = "(\w+)";\s*static constexpr int interface_version = (\d+);)re");
  std::map<std::string, int> result;
  for (const fs::directory_entry& header : fs::directory_iterator(kSdk / "include" / "casdm")) {
    if (!header.is_regular_file()) continue;
    const std::string content = read_file(header.path());
    for (std::sregex_iterator found(content.begin(), content.end(), declaration), end; found != end; ++found) {
      result[(*found)[1]] = std::stoi((*found)[2]);
    }
  }
  return result;
}

/// The kinds of the components that tables of an experiment choose.
std::set<std::string> chosen_kinds(const OptionSchema& options) {
  std::set<std::string> result;
  for (const OptionSpec& option : options) {
    if (!option.component_kind.empty()) result.insert(option.component_kind);
    result.merge(chosen_kinds(option.fields));
    result.merge(chosen_kinds(option.element));
  }
  return result;
}

}  // namespace

TEST_CASE("the host has a row for every kind that an SDK header declares, with its version") {
  std::map<std::string, int> rows;
  for (const Kind& kind : kinds()) rows[std::string(kind.name)] = kind.version;
  CHECK(rows.size() == kinds().size());
  CHECK(rows == declared_kinds());
  CHECK(rows.size() >= 8);
}

TEST_CASE("a kind is found by its name and by its short name, and no two kinds share one") {
  std::set<std::string_view> names;
  for (const Kind& kind : kinds()) {
    CHECK(find_kind(kind.name) == &kind);
    CHECK(plugin_names(kind.name, "mine").kind == kind.name);
    CHECK(plugin_names(kind.short_name, "mine").kind == kind.name);
    CHECK(names.insert(kind.name).second);
    CHECK((kind.short_name == kind.name || names.insert(kind.short_name).second));
  }
  CHECK(find_kind("upscaler") == nullptr);
}

TEST_CASE("every kind has a suite of conformance tests, and every suite belongs to a kind") {
  CHECK(conformance::suites().size() == kinds().size());
  for (const Kind& kind : kinds()) {
    CAPTURE(kind.name);
    const conformance::Suite* suite = conformance::find_suite(kind.name);
    REQUIRE(suite != nullptr);
    CHECK(!suite->tests.empty());
    for (const conformance::Test& test : suite->tests) CHECK(test.kind == suite->kind);
  }
}

TEST_CASE("every kind has a plugin template, whose names and class are filled in") {
  const TemporaryFolder folder;
  const std::set<std::string> chosen = chosen_kinds(schema_of<Experiment>());
  std::set<std::string> templates = {"common", "standalone"};
  for (const Kind& kind : kinds()) {
    CAPTURE(kind.name);
    const std::string name = "mine_" + std::string(kind.name);
    const fs::path tree = folder.path() / name;
    const PluginNames names = plugin_names(kind.name, name);
    write_plugin_tree(kSdk / "templates", names, tree);
    CHECK((fs::exists(tree / "experiment.toml") || !chosen.contains(std::string(kind.name))));
    for (const fs::directory_entry& file : fs::directory_iterator(tree)) {
      CHECK_MESSAGE(read_file(file.path()).find("emplate_") == std::string::npos, file.path().string());
    }
    for (const char* file : {"CMakeLists.txt", "README.md"}) CHECK(fs::exists(tree / file));
    CHECK(fs::exists(tree / (name + "_test.cpp")));
    const std::string source = read_file(tree / (name + ".cpp"));
    CHECK(source.find("TemplateName") == std::string::npos);
    CHECK(source.find(text("class ", names.class_stem, kind.suffix, " ")) != std::string::npos);
    templates.insert(std::string(kind.name));
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(kSdk / "templates")) {
    CHECK_MESSAGE(templates.contains(entry.path().filename().string()), entry.path().string());
  }
}

TEST_CASE("names that CMake or the templates use are refused for a plugin") {
  for (const char* name : {"all", "test", "install", "help", "clean", "casdm", "plugin", "template_name"}) {
    CHECK(message_of<ConfigError>([&] { plugin_names("metric", name); }).ends_with(text(" (", name, " is reserved)")));
  }
  CHECK_NOTHROW(plugin_names("metric", "tests"));
}

TEST_CASE("the tables of an experiment choose components of kinds that have a row") {
  for (const std::string& kind : chosen_kinds(schema_of<Experiment>())) CHECK_MESSAGE(find_kind(kind) != nullptr, kind);
}

TEST_CASE("the page to which plugins of an older version are referred has a section for every kind of that version") {
  for (const Kind& kind : kinds()) {
    if (kind.version == 1) continue;
    const std::string page = read_file(source_dir() / "docs/plugins" / text("version-", kind.version, ".md"));
    CHECK_MESSAGE(page.find(text("\n## `", kind.name, "`\n")) != std::string::npos, kind.name);
  }
}
