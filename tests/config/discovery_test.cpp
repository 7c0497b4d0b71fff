#include "framework/loading/discovery.h"

#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "casdm/elf_note.h"
#include "framework/config/document.h"
#include "framework/loading/kinds.h"
#include "framework/loading/note_summary.h"
#include "framework/loading/trusted_path.h"
#include "support.h"

using namespace casdm;
using casdm::testing::message_of;
using casdm::testing::TemporaryFolder;

namespace fs = std::filesystem;

namespace {

std::string content_of(const fs::path& file) {
  std::ostringstream content;
  content << std::ifstream(file, std::ios::binary).rdbuf();
  return content.str();
}

/// A folder with an environment in which nothing else can be found.
class Folders : public TemporaryFolder {
 public:
  Folders() {
    ::setenv("XDG_DATA_HOME", (path() / "data").c_str(), 1);
    ::setenv("XDG_STATE_HOME", (path() / "state").c_str(), 1);
    ::unsetenv("CASDM_PLUGIN_PATH");
  }

  /// A copy of the fixture plugin, with each text of `changes` in its bytes replaced by another of the same length.
  fs::path plugin(const std::string& name, const std::vector<std::pair<std::string, std::string>>& changes = {}) const {
    std::string bytes = content_of(CASDM_FIXTURE);
    for (const auto& [from, to] : changes) {
      REQUIRE(from.size() == to.size());
      std::size_t at = bytes.find(from);
      REQUIRE(at != std::string::npos);
      for (; at != std::string::npos; at = bytes.find(from, at + 1)) bytes.replace(at, to.size(), to);
    }
    return write(name, bytes);
  }

  PluginCatalog discover(const std::vector<fs::path>& config = {}) const {
    SearchPaths search;
    search.config = config.empty() ? std::vector<fs::path>{path()} : config;
    return PluginCatalog::discover(search);
  }

  /// Why the only library in the folder cannot be used.
  std::string problem() const {
    const PluginCatalog catalog = discover();
    REQUIRE(catalog.plugins().size() == 1);
    return catalog.plugins().front().problem;
  }
};

std::string stamp_value(const std::string& field) {
  for (const auto& [name, value] : parse_stamp(host_stamp())) {
    if (name == field) return value;
  }
  return "";
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE("a plugin is known by its note, without being loaded") {
  const Folders place;
  const fs::path file = place.plugin("a.so");
  const PluginCatalog catalog = place.discover();
  REQUIRE(catalog.plugins().size() == 1);
  const FoundPlugin& plugin = catalog.plugins().front();
  CHECK(plugin.problem == "");
  CHECK(plugin.path == file);
  CHECK(plugin.origin == "[plugins] paths");
  CHECK(plugin.description.info.id == "dataset_fixture");
  CHECK(plugin.description.info.licence == "Apache-2.0");
  CHECK(plugin.build_id.size() == 40);
  CHECK(catalog.full_name("dataset", "fixture") == "dataset_fixture/fixture");
  CHECK(catalog.names("dataset") == std::vector<std::string>{"fixture"});
  CHECK(catalog.component("dataset", "dataset_fixture/fixture").options.at(1).allowed.size() == 2);
  CHECK(content_of("/proc/self/maps").find(file.string()) == std::string::npos);
}

TEST_CASE("a listing reads a note without its options") {
  OptionSpec tricky;
  tricky.name = "options";
  tricky.doc = R"(Ends with a \ and a quote: "options":[{ ]}} \")";
  tricky.default_value = Value::Array{"]", Value::Array{}, "\\"};
  tricky.element = {OptionSpec{}};
  tricky.type = OptionType::array;
  PluginDescription description{{"id", "1.0", R"(A "options":[ summary)", "MIT"}, "machine=x\n", {}};
  description.components.push_back({"sampler", "plain", "None.", 1, {}, nullptr});
  description.components.push_back({"sampler", "tricky", R"(Doc with "options":[1)", 2, {tricky, tricky}, nullptr});
  const std::string json = to_json(description);
  REQUIRE(to_json(description_from_json(json)) == json);
  for (ComponentEntry& component : description.components) component.options.clear();
  CHECK(to_json(summary_from_json(json)) == to_json(description));
  // A note that is cut off anywhere is refused, not listed.
  for (std::size_t length = 0; length < json.size(); ++length) {
    CAPTURE(json.substr(0, length));
    CHECK_THROWS_AS(summary_from_json(json.substr(0, length)), PluginError);
  }
}

TEST_CASE("the note survives strip --strip-all") {
  const Folders place;
  const fs::path file = place.plugin("a.so");
  REQUIRE(std::system((std::string(CASDM_STRIP) + " --strip-all " + file.string()).c_str()) == 0);
  CHECK(place.problem() == "");
}

TEST_CASE("places are searched in order, the working directory only if it is named") {
  const Folders place;
  place.plugin("here.so");
  fs::create_directory("empty");
  CHECK(place.discover({place.path() / "empty"}).plugins().empty());
  ::setenv("CASDM_PLUGIN_PATH", (":relative:" + place.path().string() + ":").c_str(), 1);
  const PluginCatalog catalog = place.discover({place.path() / "empty"});
  REQUIRE(catalog.plugins().size() == 2);
  CHECK(catalog.plugins()[0].problem == "is relative; CASDM_PLUGIN_PATH takes absolute paths");
  CHECK(catalog.plugins()[1].origin == "CASDM_PLUGIN_PATH");
  SearchPaths search{{"/f"}, {"/c"}};
  std::vector<std::string> origins;
  for (const SearchPlace& found : search.places()) origins.push_back(found.origin);
  CHECK(origins == std::vector<std::string>{"--plugin", "[plugins] paths", "CASDM_PLUGIN_PATH", "CASDM_PLUGIN_PATH",
                                            "the user's folder", "the installed folder"});
  CHECK(search.places()[4].path == place.path() / "data/casdm/plugins");
}

TEST_CASE("a file found twice counts once, also through a link") {
  const Folders place;
  place.plugin("lib/a.so");
  fs::create_directory_symlink("lib", "link");
  fs::create_symlink("a.so", "lib/b.so");
  const PluginCatalog catalog =
      place.discover({place.path() / "lib", place.path() / "link", place.path() / "lib/a.so"});
  REQUIRE(catalog.plugins().size() == 1);
  CHECK(catalog.plugins()[0].problem == "");
}

TEST_CASE("two libraries with the same id are both refused, each naming the other") {
  const Folders place;
  const fs::path a = place.plugin("a/x.so");
  const fs::path b = place.plugin("b/y.so");
  const PluginCatalog catalog = place.discover({place.path() / "a", place.path() / "b"});
  REQUIRE(catalog.plugins().size() == 2);
  CHECK(catalog.plugins()[0].problem ==
        "has the plugin id 'dataset_fixture', as has " + b.string() + "; remove one of them from the search path");
  CHECK(catalog.plugins()[1].problem ==
        "has the plugin id 'dataset_fixture', as has " + a.string() + "; remove one of them from the search path");
  CHECK(message_of<ConfigError>([&] { catalog.owner("dataset", "fixture"); }).find(b.string()) != std::string::npos);
}

TEST_CASE("a plugin that an experiment brings does not displace one with the same id") {
  const Folders place;
  const fs::path brought = place.plugin("brought/x.so");
  const fs::path own = place.plugin("data/casdm/plugins/x.so");
  const PluginCatalog catalog = place.discover({place.path() / "brought"});
  CHECK(catalog.owner("dataset", "fixture").path == own);
  CHECK(catalog.plugins()[0].problem ==
        "has the plugin id 'dataset_fixture', as has " + own.string() + "; remove one of them from the search path");
  allow(brought);
  CHECK(message_of<ConfigError>([&] { place.discover({place.path() / "brought"}).owner("dataset", "fixture"); }) != "");
}

TEST_CASE("a component of two plugins must be named in full") {
  const Folders place;
  const fs::path a = place.plugin("a.so");
  const fs::path b = place.plugin("b.so", {{"dataset_fixture", "dataset_another"}});
  const PluginCatalog catalog = place.discover();
  CHECK(message_of<ConfigError>([&] { catalog.component("dataset", "fixture"); }) ==
        "several plugins have the dataset 'fixture'; write \"dataset_fixture/fixture\" (" + a.string() +
            ") or \"dataset_another/fixture\" (" + b.string() + ")");
  CHECK(catalog.owner("dataset", "dataset_another/fixture").path == b);
  CHECK(catalog.names("dataset") == std::vector<std::string>{"dataset_another/fixture", "dataset_fixture/fixture"});
}

TEST_CASE("an unknown component is answered with similar names, all names, and the places searched") {
  const Folders place;
  const fs::path good = place.plugin("a.so");
  const fs::path bad = place.write("b.so", "no library");
  const std::string message = message_of<ConfigError>([&] { place.discover().component("dataset", "fixtrue"); });
  CHECK(
      message.starts_with("no usable plugin has the dataset \"fixtrue\"; did you mean 'fixture'? available: fixture\n"
                          "    looked in: " +
                          place.path().string() + " ([plugins] paths), "));
  CHECK(message.ends_with("\n    cannot be used: " + bad.string() + ": is not a shared library (no ELF header)"));
  CHECK(message_of<ConfigError>([&] {
          place.discover().component("sampler", "fixture");
        }).starts_with("no usable plugin has the sampler \"fixture\"; it is a dataset; available: none\n"));
}

TEST_CASE("a bad file is listed with the reason and does not affect the others") {
  const Folders place;
  place.plugin("good.so");
  place.write("empty.so", "");
  place.write("text.so", std::string(1000, 'x'));
  place.write("cut.so", content_of(CASDM_FIXTURE).substr(0, 1000));
  place.write("readme.txt", "not looked at");
  fs::copy_file(CASDM_FIXTURE_WITHOUT_NOTE, "bare.so");
  fs::create_directory("folder.so");
  fs::create_symlink("nowhere", "gone.so");
  std::string seen;
  const PluginCatalog catalog = place.discover();
  for (const FoundPlugin& plugin : catalog.plugins()) {
    seen += plugin.path.filename().string() + " " + plugin.problem + "\n";
  }
  CHECK(seen ==
        "bare.so is not a casdm plugin: it has no casdm note, which casdm_add_plugin writes\n"
        "cut.so is truncated\n"
        "empty.so is empty\n"
        "folder.so is not a regular file\n"
        "gone.so cannot be read: No such file or directory\n"
        "good.so \n"
        "text.so is not a shared library (no ELF header)\n");
  CHECK(catalog.names("dataset") == std::vector<std::string>{"fixture"});
  CHECK(catalog.warnings().size() == 6);
  CHECK(place.discover({place.path() / "missing.so"}).warnings() ==
        std::vector<std::string>{(place.path() / "missing.so").string() +
                                 " ([plugins] paths) cannot be used: does not exist"});
}

TEST_CASE("a library that others could have changed is refused") {
  const Folders place;
  const fs::path file = place.plugin("a.so");
  ::chmod(file.c_str(), 0666);
  CHECK(place.problem() == "can be changed by every user; chmod o-w it");
  ::chmod(file.c_str(), 0644);
  ::chmod(place.path().c_str(), 0777);
  CHECK(place.problem() ==
        "is in the folder " + place.path().string() + ", which can be changed by every user; chmod o-w it");
  ::chmod(place.path().c_str(), 0700);
  CHECK(place.problem() == "");
  if (::geteuid() != 0) {
    MESSAGE("not root: files of other users and groups are not tried");
    return;
  }
  REQUIRE(::chown(file.c_str(), 1234, 0) == 0);
  CHECK(place.problem() == "belongs to another user (uid 1234); plugins must belong to you or to root");
  REQUIRE(::chown(file.c_str(), 0, 1234) == 0);
  ::chmod(file.c_str(), 0664);
  CHECK(place.problem() == "can be changed by its group; chmod g-w it");
}

TEST_CASE("a plugin of another build is refused with a table of the differences") {
  const Folders place;
  const std::string libtorch = stamp_value("libtorch");
  std::string other = libtorch;
  other[2] = other[2] == '9' ? '8' : '9';
  place.plugin("a.so", {{"libtorch=" + libtorch, "libtorch=" + other}});
  CHECK(place.problem() ==
        "was built for another host:\n"
        "  field     plugin  host    must be\n"
        "  libtorch  " +
            other + "  " + libtorch +
            "  the same major.minor\n"
            "  Rebuild the plugin with this host's SDK (casdm " +
            stamp_value("sdk_version") + ", LibTorch " + libtorch + ", " + stamp_value("compiler") + ").");
  CHECK(place.discover().plugins().front().description.info.id == "dataset_fixture");
}

TEST_CASE("stamps: what must agree and what need not") {
  const std::string host =
      "sdk_version=0.1.0\nsdk_headers=abcd\nlibtorch=2.11.0\ncxx11_abi=1\ncompiler=gcc 12.2\nstdlib=libstdc++ 12\n"
      "cxx_standard=202002L\ncuda=13.0\ncuda_architectures=none\nbuild_type=Release\nmachine=x86_64\n";
  const auto difference = [&](const std::string& from, const std::string& to) {
    return compare_stamps(replaced(host, from, to), host);
  };
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{{"2.11.0", "2.11.3+cu130"},
                                                                                 {"gcc 12.2", "gcc 12.9"},
                                                                                 {"202002L", "202302L"},
                                                                                 {"cuda=13.0", "cuda=none"},
                                                                                 {"Release", "Debug"},
                                                                                 {"0.1.0", "0.1.1"},
                                                                                 {"none", "sm_90"},
                                                                                 {"machine", "extra=1\nmachine"}}) {
    CAPTURE(to);
    CHECK(difference(from, to) == "");
  }
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{{"abcd", "abce"},
                                                                                 {"2.11.0", "2.1.0"},
                                                                                 {"cxx11_abi=1", "cxx11_abi=0"},
                                                                                 {"gcc 12.2", "gcc 13.2"},
                                                                                 {"gcc 12.2", "clang 12.2"},
                                                                                 {"libstdc++ 12", "libstdc++ 13"},
                                                                                 {"202002L", "201703L"},
                                                                                 {"x86_64", "aarch64"},
                                                                                 {"machine=x86_64\n", ""}}) {
    CAPTURE(to);
    CHECK(difference(from, to) != "");
  }
  CHECK(difference("machine=x86_64\n", "").find("(missing)") != std::string::npos);
  CHECK(compare_stamps("", host).find("sdk_headers") != std::string::npos);
  CHECK(compare_stamps(host_stamp(), host_stamp()) == "");
}

TEST_CASE("an interface this host does not support is refused, an older one with the page about the changes") {
  const Folders place;
  const std::string version = std::to_string(find_kind("dataset")->version);
  const std::string field = "\"interface_version\":";
  place.plugin("a.so", {{field + version, field + "7"}});
  CHECK(place.problem() == "holds the dataset 'fixture' of interface version 7; this host calls version " + version +
                               ": rebuild the plugin with this host's SDK");
  // It was built with other headers, too, but the version says more.
  place.plugin("a.so", {{field + version, field + "0"},
                        {"sdk_headers=" + stamp_value("sdk_headers"), "sdk_headers=0123456789abcdef"}});
  CHECK(place.problem() == "holds the dataset 'fixture' of interface version 0; this host calls version " + version +
                               ": see docs/plugins/version-" + version +
                               ".md for what changed, and rebuild the plugin with this host's SDK");
  place.plugin("a.so", {{"\"kind\":\"dataset\"", "\"kind\":\"dataseq\""}});
  CHECK(
      place.problem() ==
      "holds the component 'fixture' of kind \"dataseq\", which this host does not know; rebuild host and plugin with "
      "one SDK");
}

TEST_CASE("a damaged description is refused") {
  const Folders place;
  place.plugin("a.so", {{"\"components\":[", "\"componentz\":["}});
  CHECK(place.problem() == "the note's description is damaged: key 'components' is missing");
}

TEST_CASE("plugin paths are read from a document that has not been validated yet") {
  const Value document = parse_document("[plugins]\npaths = ['a', 3, '', '/b']\nother = 1", "x", fs::current_path());
  CHECK(plugin_paths(document) == std::vector<fs::path>{fs::current_path() / "a", "/b"});
  CHECK(plugin_paths(parse_document("plugins = 3", "x", fs::current_path())).empty());
}
