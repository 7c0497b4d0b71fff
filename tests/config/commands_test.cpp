#include "framework/commands/commands.h"

#include <doctest/doctest.h>
#include <stdlib.h>

#include <fstream>
#include <iostream>
#include <sstream>

#include "casdm/text.h"
#include "casdm/value.h"
#include "framework/config/document.h"
#include "framework/support/shell_word.h"
#include "support.h"

using namespace casdm;
using casdm::testing::message_of;
using casdm::testing::TemporaryFolder;

namespace {

/// The command's output to stdout; stderr is discarded.
template <class Command>
std::string output_of(Command command, const std::vector<std::string>& arguments) {
  std::ostringstream out, err;
  auto* const old_out = std::cout.rdbuf(out.rdbuf());
  auto* const old_err = std::cerr.rdbuf(err.rdbuf());
  try {
    command(arguments);
  } catch (...) {
    std::cout.rdbuf(old_out);
    std::cerr.rdbuf(old_err);
    throw;
  }
  std::cout.rdbuf(old_out);
  std::cerr.rdbuf(old_err);
  return out.str();
}

std::string config(const std::vector<std::string>& arguments) { return output_of(config_command, arguments); }
std::string completion(const std::string& shell) {
  const auto print_no_help = [](const std::vector<std::string>&) {};
  return output_of([&](const auto& arguments) { return completion_command(arguments, {}, print_no_help); }, {shell});
}
std::string plugins(const std::vector<std::string>& arguments) { return output_of(plugins_command, arguments); }

/// A folder in which the fixture is the only plugin.
class Place : public TemporaryFolder {
 public:
  Place() {
    ::setenv("XDG_DATA_HOME", (path() / "data").c_str(), 1);
    ::setenv("CASDM_PLUGIN_PATH", std::filesystem::path(CASDM_FIXTURE).parent_path().c_str(), 1);
  }
};

}  // namespace

TEST_CASE("help and wrong use") {
  const Place place;
  for (const std::string& help : {config({"--help"}), config({"check", "-h"})}) {
    CHECK(help.starts_with("usage: casdm config check FILE"));
    CHECK(help.find("--set KEY=VALUE") != std::string::npos);
  }
  CHECK(plugins({"--help"}).starts_with("usage: casdm plugins list"));
  CHECK(message_of<ConfigError>([] { config({}); }) ==
        "config: expected check, show, init, schema or reference; see `casdm config --help`");
  CHECK(message_of<ConfigError>([] {
          config({"shwo", "x"});
        }) ==
        "config: expected check, show, init, schema or reference, got \"shwo\"; did you mean 'show'? See `casdm config "
        "--help`");
  CHECK(message_of<ConfigError>([] { config({"check"}); }) == "config: file is missing; see `casdm config --help`");
  CHECK(message_of<ConfigError>([] { config({"check", "a", "b"}); }).ends_with("; see `casdm config --help`"));
  CHECK(message_of<ConfigError>([] {
          config({"init", "new.toml"});
        }) == "config: init takes no \"new.toml\"; --out writes the result to a file; see `casdm config --help`");
  CHECK(message_of<ConfigError>([] {
          config({"reference", "docs"});
        }).find("reference takes no \"docs\"") != std::string::npos);
  CHECK(message_of<ConfigError>([] {
          config({"check", "x", "--out", "y"});
        }) == "config: check takes no --out; see `casdm config --help`");
  CHECK(message_of<ConfigError>([] {
          config({"check", "--se", "a=b"});
        }) == "config: there is no option \"--se\"; did you mean --set? See `casdm config --help`");
  CHECK(message_of<ConfigError>([] {
          plugins({"list", "unet"});
        }) == "plugins: list takes no 'unet'; see `casdm plugins --help`");
  CHECK(message_of<ConfigError>([] { plugins({"inspect"}); }) ==
        "plugins: name is missing; see `casdm plugins --help`");
}

TEST_CASE("plugins list, inspect and paths show what is found") {
  const Place place;
  CHECK(plugins({"list"}) ==
        "PLUGIN           VERSION  KIND     COMPONENTS\n"
        "dataset_fixture  0.1.0    dataset  fixture\n");
  const Value all = from_json(plugins({"list", "--json"}));
  REQUIRE(all.as_array().size() == 1);
  CHECK(*all.as_array()[0].find("usable") == Value(true));
  const Value& component = all.as_array()[0].find("components")->as_array().at(0);
  CHECK(*component.find("name") == Value("fixture"));
  CHECK(component.find("options") == nullptr);  // not read for a listing
  for (const char* name : {"fixture", "dataset_fixture", "dataset_fixture/fixture", CASDM_FIXTURE}) {
    CAPTURE(name);
    const std::string shown = plugins({"inspect", name});
    CHECK(
        shown.ends_with("\ndataset fixture\n"
                        "  Black images.\n"
                        "\n"
                        "  num_images  How many images there are.\n"
                        "              an integer of at least 1 [images]; default 4; for example 12\n"
                        "  colour      What they look like.\n"
                        "              one of \"red\", \"green\"; default \"red\"\n"));
  }
  const Value inspected = from_json(plugins({"inspect", "fixture", "--json"}));
  REQUIRE(inspected.find("components")->as_array().size() == 1);
  CHECK(to_json(*inspected.find("components")->as_array()[0].find("options")) ==
        R"([{"name":"num_images","type":"integer","doc":"How many images there are.","unit":"images","default":4,)"
        R"("minimum":1.0,"examples":[12]},{"name":"colour","type":"string","doc":"What they look like.",)"
        R"("default":"red","choices":["red","green"]}])");
  CHECK(message_of<ConfigError>([] {
          plugins({"inspect", "fixtrue"});
        }).starts_with("no plugin, component or library is named 'fixtrue'; did you mean 'fixture'"));
  CHECK(plugins({"paths"}).find("CASDM_PLUGIN_PATH     1\n") != std::string::npos);
  const std::filesystem::path bad = place.write("bad.so", "x");
  CHECK(plugins({"list", "--plugin", bad.string()}).find("\ncannot be used:\n  " + bad.string() + " is not a shared") !=
        std::string::npos);
}

TEST_CASE("completions leave out words of libraries that a shell would expand") {
  const Place place;
  std::ostringstream content;
  content << std::ifstream(CASDM_FIXTURE, std::ios::binary).rdbuf();
  std::string library = content.str();
  const std::size_t at = library.find("\"green\"");
  REQUIRE(at != std::string::npos);
  library.replace(at + 1, 5, "$(id)");
  place.write("more/fixture.so", library);
  ::setenv("CASDM_PLUGIN_PATH", (place.path() / "more").c_str(), 1);
  REQUIRE(plugins({"inspect", "fixture"}).find("$(id)") != std::string::npos);
  for (const char* shell : {"bash", "zsh", "fish"}) {
    CAPTURE(shell);
    const std::string script = completion(shell);
    CHECK(script.find("data.colour=") != std::string::npos);
    CHECK(script.find("red") != std::string::npos);
    CHECK(script.find("(id)") == std::string::npos);
  }
}

TEST_CASE("an experiment that lacks plugins is refused as a whole, with every location") {
  const Place place;
  place.write("x.toml", "[data]\ntype = 'fixture'\nnum_images = 0\n[noise]\ntype = 'cosine'\n");
  const std::string message = message_of<ConfigError>([] { config({"check", "x.toml"}); });
  CHECK(message.starts_with("5 problems:\n  1. x.toml:1:1: head: missing; an experiment needs it: "));
  CHECK(message.find("\n  4. x.toml:3:14: data.num_images: expected an integer of at least 1, got 0 (an integer); it "
                     "is an option of fixture (plugin dataset_fixture)\n") != std::string::npos);
  CHECK(message.find(
            "\n  5. x.toml:5:8: noise.type: no usable plugin has the noise_scheduler \"cosine\"; available: none") !=
        std::string::npos);
  CHECK(message.find("\n  3. x.toml:1:1: optimizer: there is no optimizer to use: no plugin with one was found") !=
        std::string::npos);
  CHECK(message.find("\n    looked in: ") != std::string::npos);
}

TEST_CASE("a word is quoted for the shell where necessary") {
  for (const char* plain : {"runs/small", "a-b_c.d=e:f,g+h%i@j", "/tmp/\u00fc"}) CHECK(shell_word(plain) == plain);
  CHECK(shell_word("my runs") == "'my runs'");
  CHECK(shell_word("it's") == "'it'\\''s'");
  CHECK(shell_word("") == "''");
  for (const char* word : {"~", "$HOME", "a;b", "a\nb", "*", "a\\b", "#", "!"})
    CHECK(shell_word(word) == text("'", word, "'"));
  CHECK(shell_word("fo\xffl'd\x1b") == "$'fo\\xffl\\x27d\\x1b'");
}

TEST_CASE("init and schema write what was found, and never over another file") {
  const Place place;
  const std::string starter = config({"init"});
  CHECK(starter.find("\n[data]\ntype = \"fixture\"\n") != std::string::npos);
  CHECK(starter.find("\n# How many images there are. (an integer of at least 1 [images]; default 4; for example "
                     "12)\nnum_images = 4\n") != std::string::npos);
  CHECK(config({"init", "--out", "mine.toml"}) == "");
  CHECK(load_document("mine.toml") == parse_document(starter, "x", place.path()));
  CHECK(message_of<ConfigError>([] {
          config({"init", "--out", "mine.toml"});
        }) == "mine.toml exists; choose another name or remove it");
  CHECK(message_of<ConfigError>([] {
          config({"init", "--type", "data=fixtrue"});
        }).starts_with("no usable plugin has the dataset \"fixtrue\"; did you mean 'fixture'?"));
  CHECK(from_json(config({"schema"})).find("$schema") != nullptr);
}
