#include <doctest/doctest.h>

#include <fstream>
#include <map>

#include "casdm/text.h"
#include "casdm/value.h"
#include "casdm/weight_layout.h"
#include "framework/config/experiment.h"
#include "framework/support/files.h"
#include "integration/program.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

/// The tables of a new experiment that choose a component, by kind.
std::map<std::string, std::string> tables() {
  std::map<std::string, std::string> result = {{"backbone", "head.theta"}};  // in the head that it chooses itself
  for (const OptionSpec& option : schema_of<Experiment>()) {
    const OptionSpec& table = option.element.empty() ? option : option.element.front();
    if (!table.component_kind.empty()) result[table.component_kind] = option.name;
  }
  result["feature_extractor"] = "evaluate.judges";
  result["set_metric"] = "evaluate.judges.metrics";
  return result;
}

/// The kind and the full name of every component of this build.
std::vector<std::pair<std::string, std::string>> our_components(const fs::path& folder) {
  const Outcome list = shell("unset CASDM_PLUGIN_PATH; XDG_DATA_HOME=\"$PWD\" casdm plugins list --json", folder);
  REQUIRE_MESSAGE(list.status == 0, list.err);
  std::vector<std::pair<std::string, std::string>> result;
  const Value plugins = from_json(list.out);
  for (const Value& plugin : plugins.as_array()) {
    for (const Value& component : plugin.find("components")->as_array()) {
      result.emplace_back(component.find("kind")->as_string(),
                          text(plugin.find("id")->as_string(), "/", component.find("name")->as_string()));
    }
  }
  return result;
}

/// Creates what the example path of a data set points to.
void make_data(const fs::path& folder, const std::string& experiment) {
  const std::string key = "\npath = \"";
  const std::size_t begin = experiment.find(key);
  if (begin == std::string::npos) return;
  const std::size_t end = experiment.find('"', begin + key.size());
  const fs::path path = folder / experiment.substr(begin + key.size(), end - begin - key.size());
  fs::create_directories(path.parent_path());
  std::ofstream(path) << "";
}

}  // namespace

TEST_CASE("a new experiment with any component is valid, and documents each of its keys") {
  const TemporaryFolder folder;
  int count = 0;
  const std::map<std::string, std::string> table_of = tables();
  for (const auto& [kind, name] : our_components(folder.path())) {
    CAPTURE(name);
    if (kind == WeightLayout::kind) continue;  // no experiment chooses one
    REQUIRE(table_of.contains(kind));
    const std::string file = text(++count, ".toml");
    const Outcome made =
        shell(text("casdm config init --type ", table_of.at(kind), "=", name, " --out ", file), folder.path());
    CHECK_MESSAGE(made.status == 0, made.err);
    make_data(folder.path(), read_file(folder.path() / file));
    const Outcome check = shell("casdm config check " + file, folder.path());
    CHECK_MESSAGE(check.status == 0, check.err);
    const std::map<std::string, std::string> elements = {{"metric_loss", "metrics.0"},
                                                         {"feature_extractor", "evaluate.judges.0"},
                                                         {"set_metric", "evaluate.judges.0.metrics.0"}};
    const std::string place = elements.contains(kind) ? elements.at(kind) : table_of.at(kind);
    CHECK(check.out.find(text(place, ": ", name, "\n")) != std::string::npos);
    std::string comment;
    std::istringstream lines(read_file(folder.path() / file));
    for (std::string line; std::getline(lines, line);) {
      const bool is_key = line.find(" = ") != std::string::npos && line.front() >= 'a' && !line.starts_with("type = ");
      if (is_key)
        CHECK_MESSAGE((comment.find("default") != std::string::npos || comment.find("required") != std::string::npos),
                      line);
      comment = line.starts_with('#') ? comment + line : "";
    }
  }
  CHECK(count >= 30);
}

TEST_CASE("the commands that read notes do not start LibTorch") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const auto libraries = [&](const std::string& command) {
    const Outcome outcome = shell("LD_DEBUG=files casdm " + command, folder.path());
    CHECK_MESSAGE(outcome.status == 0, command);
    CHECK_MESSAGE(outcome.err.find("calling init: ") != std::string::npos, command);
    return outcome.err;
  };
  for (const char* command :
       {"--help", "--version", "plugins list", "plugins list --json", "plugins inspect unet", "plugins paths",
        "config check small.toml", "config show small.toml", "config init", "config schema", "config reference"}) {
    const std::string loaded = libraries(command);
    CHECK_MESSAGE(loaded.find("libtorch") == std::string::npos, command);
    CHECK_MESSAGE(loaded.find("libc10") == std::string::npos, command);
    CHECK_MESSAGE(loaded.find("lib/casdm/plugins") == std::string::npos, command);
  }
  CHECK(libraries("train --help").find("libtorch_cpu.so") != std::string::npos);
}

TEST_CASE("what the plugins commands find is also available as JSON") {
  const TemporaryFolder folder;
  const auto json = [&](const std::string& arguments) {
    const Outcome outcome = shell("casdm plugins " + arguments + " --json", folder.path());
    REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
    return from_json(outcome.out);
  };
  CHECK(json("list").as_array().at(0).find("usable")->as_boolean());
  CHECK(json("paths").as_array().at(0).find("origin") != nullptr);
  const Value unet = json("inspect unet");
  CHECK(*unet.find("id") == Value("backbone_unet"));
  const Value& channels = unet.find("components")->as_array().at(0).find("options")->as_array().at(0);
  for (const char* fact : {"name", "type", "doc", "default", "minimum"}) CHECK(channels.find(fact) != nullptr);
  const Value made = json("new --kind metric mine");
  CHECK(to_json(made) == R"({"folder":"mine","kind":"metric_loss","name":"mine","files":[".gitignore",)"
                         R"("CMakeLists.txt","README.md","experiment.toml","mine.cpp","mine_test.cpp"]})");
  for (const Value& file : made.find("files")->as_array()) CHECK(fs::exists(folder.path() / "mine" / file.as_string()));
  const Value checked = json("check '" + unet.find("path")->as_string() + "' --filter keeps_state_names");
  REQUIRE(!checked.as_array().empty());
  for (const char* fact : {"component", "kind", "test", "outcome", "message", "seconds"}) {
    CHECK(checked.as_array()[0].find(fact) != nullptr);
  }
}
