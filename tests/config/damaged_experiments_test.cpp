// A damaged experiment must never crash the program, or give anything but a clear refusal.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <ctime>
#include <random>

#include "casdm/text.h"
#include "framework/config/document.h"
#include "framework/config/experiment.h"
#include "framework/config/parse_toml.h"
#include "support.h"

using namespace casdm;
using casdm::testing::fake_catalog;

namespace {

const char* const kExperiment = R"(# An experiment
[run]
name = "x"  # with a comment
seed = 0x1F
[data]
type = "shapes"
num_images = "1.5k"
image_size = 16
[noise]
type = "linear"
[head]
type = "cascade"
weights = { eps = 1.0, x0 = 2e-1 }
[head.theta]
type = "unet"
channel_mult = [1, 2,
  4]
[[metrics]]
type = "sum"
weight = 0.5
parts = [{ type = "l1" }, { type = "lpips", net = 'alexnet' }]
[[metrics]]
type = "lpips"
t_range = [0, 0.7]
[sampler]
type = "ddim"
[[init]]
module = """theta"""
from = "some/run"
)";

}  // namespace

TEST_CASE("a damaged experiment is read or refused with ConfigError, nothing worse") {
  const std::filesystem::path here = std::filesystem::current_path();
  const std::string whole = kExperiment;
  const OptionSchema schema = schema_of<Experiment>();
  REQUIRE_NOTHROW(resolve(parse_document(whole, "x", here), schema, fake_catalog()));
  const std::string alphabet = "[]{}=.,\"'#\n 0129eE+-_axtype\\\xff";
  std::mt19937 random(3);
  int valid = 0;
  for (int i = 0; i < 2000; ++i) {
    std::string toml = whole;
    for (unsigned changes = random() % 3 + 1; changes > 0; --changes) {
      const std::size_t at = random() % toml.size();
      switch (random() % 4) {
        case 0:
          toml[at] = alphabet[random() % alphabet.size()];
          break;
        case 1:
          toml.erase(at, random() % 20 + 1);
          break;
        case 2:
          toml.insert(at, 1, alphabet[random() % alphabet.size()]);
          break;
        default:
          toml.insert(at, toml.substr(random() % toml.size(), random() % 40));
      }
    }
    try {
      const Value resolved = resolve(parse_document(toml, "x", here), schema, fake_catalog());
      REQUIRE(parse_toml(to_toml(resolved), "x").is_table());
      ++valid;
    } catch (const ConfigError& error) {
      CHECK(std::strlen(error.what()) > 0);
    }
  }
  CHECK(valid > 50);
}

TEST_CASE("unlimited nesting is refused") {
  const auto refuses = [](const std::string& toml) { CHECK_THROWS_AS(parse_toml(toml, "x"), ConfigError); };
  const auto repeated = [](const std::string& part, int times) {
    std::string result;
    for (int i = 0; i < times; ++i) result += part;
    return result;
  };
  refuses("a = " + repeated("[", 100) + repeated("]", 100));
  refuses("a = " + repeated("[", 1000000));
  refuses(repeated("a.", 100) + "a = 1");
  refuses(repeated("a.", 1000000) + "a = 1");
  refuses("[" + repeated("a.", 1000000) + "a]");
  refuses(repeated("a = {", 1000000));
  // Dotted keys, headers and brackets together: one line may have many levels.
  std::string levels = "[" + repeated("a.", 120) + "a]\n";
  for (int i = 0; i < 120; ++i) levels += repeated("b.", 120) + "b = [{ ";
  refuses(levels);
  refuses(repeated("\"a\" . ", 2000) + "a = 1");
  refuses("x = '''\n'''\n" + repeated("a = [\n", 1000));
  CHECK(parse_toml("a = \"" + repeated("[{a.b.", 1000) + "\" # " + repeated("[", 1000) + "\nb = 1", "x").is_table());
  CHECK(parse_toml("a = \"\"\"\\\"" + repeated("[.", 1000) + "\"\"\"\"\nb = [[0.5, 1.5], [2.5]]", "x").is_table());
  CHECK(parse_toml("a = " + repeated("[", 63) + repeated("]", 63), "x").is_table());
}

TEST_CASE("an experiment that costs too much is refused with the limit, in little time") {
  const casdm::testing::TemporaryFolder folder;
  const auto refusal = [](const std::string& file) {
    const std::clock_t start = std::clock();
    const std::string message = casdm::testing::message_of<ConfigError>([&] { load_document(file); });
    CHECK(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC < 2);
    return message;
  };
  for (int i = 0; i < 18; ++i) {
    const std::string next = std::to_string(i + 1) + ".toml";
    folder.write("doubling/" + std::to_string(i) + ".toml", "include = ['" + next + "', '" + next + "']\n");
  }
  folder.write("doubling/18.toml", "");
  CHECK(refusal("doubling/0.toml").find("more than 64 files are read for one experiment") != std::string::npos);

  const std::string large = "a = '" + std::string(std::size_t{1} << 20, 'x') + "'\n";
  for (int i = 0; i < 3; ++i) {
    folder.write("chain/" + std::to_string(i) + ".toml", text("include = '", i + 1, ".toml'\n", large));
  }
  CHECK(refusal("chain/0.toml").find("is larger than") != std::string::npos);

  std::string keys;
  for (int i = 0; i < 4000; ++i) keys += text("key", i, " = 1\n");
  folder.write("unknown.toml", kExperiment + ("[train]\n" + keys));
  const std::clock_t start = std::clock();
  const std::string unknown = casdm::testing::message_of<ConfigError>(
      [] { resolve(load_document("unknown.toml"), schema_of<Experiment>(), fake_catalog()); });
  CHECK(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC < 2);
  CHECK(unknown.starts_with("4000 problems, the first of them:\n  1. unknown.toml:31:1: train.key0: unknown key"));
  CHECK(unknown.size() < 20000);

  std::string many = "[train]\n";
  for (int i = 0; i < 11000; ++i) many += text("key", i, " = 1\n");
  folder.write("many.toml", many);
  CHECK(refusal("many.toml").ends_with("the experiment has more than 10000 values"));
  std::string ones = "a = [";
  for (int i = 0; i < 900000; ++i) ones += "1,";
  folder.write("list.toml", ones + "]\n");
  CHECK(refusal("list.toml").find("more than 10000 values") != std::string::npos);
  folder.write("key.toml", "[" + std::string(100000, 'k') + "]\na = 1\n");
  const std::string key = refusal("key.toml");
  CHECK(key.find("kkk...\" is longer than 1000 bytes") != std::string::npos);
  CHECK(key.size() < 200);
}

TEST_CASE("a file that is not regular is refused without blocking") {
  const casdm::testing::TemporaryFolder folder;
  REQUIRE(::mkfifo("pipe.toml", 0600) == 0);
  CHECK(casdm::testing::message_of<ConfigError>([] { load_document("pipe.toml"); }) ==
        "pipe.toml is not a regular file");
  CHECK(casdm::testing::message_of<ConfigError>([] { load_document("/dev/zero"); }) ==
        "/dev/zero is not a regular file");
  folder.write("x.toml", "include = 'pipe.toml'\n");
  CHECK(casdm::testing::message_of<ConfigError>([] { load_document("x.toml"); }) ==
        "x.toml:1:11: include: pipe.toml is not a regular file");
}

TEST_CASE("impossible paths are refused with the key") {
  const casdm::testing::TemporaryFolder folder;
  const auto included = [&](const std::string& name) {
    folder.write("x.toml", "include = \"" + name + "\"\n");
    return casdm::testing::message_of<ConfigError>([] { load_document("x.toml"); });
  };
  CHECK(included(std::string(300, 'a')).ends_with("is not a path: a name in it is longer than 255 bytes"));
  CHECK(included("a\\u0000b") == "x.toml:1:11: include: \"a\\x00b\" is not a path: it holds a character NUL");
  CHECK(included("a\\nb") == "x.toml:1:11: include: \"a\\nb\" is not taken as a path: it holds a line break");
  std::string longest = "a";
  while (longest.size() < 5000) longest += "/a";
  CHECK(included(longest).ends_with("is not a path: it is longer than 4095 bytes"));
  const auto option = [](const std::string& name) {
    return casdm::testing::message_of<ConfigError>([&] {
      resolve_component(parse_toml("type = 'zip'\npath = \"" + name + "\"\n", "x"), "dataset", fake_catalog());
    });
  };
  CHECK(option(std::string(300, 'a')).starts_with("x:2:8: path: \"aaa"));
  CHECK(option(longest).ends_with(
      "is not a path: it is longer than 4095 bytes; it is an option of zip (plugin dataset_fake)"));
  CHECK(option("a\\u0000b").find("holds a character NUL") != std::string::npos);
  CHECK(option("a\\nfake: line").find("holds a line break") != std::string::npos);
  CHECK(option("~/data").starts_with("x:2:8: path: \"~/data\" is not expanded here: write the whole path"));
}

TEST_CASE("the content of a file is always escaped in messages") {
  const casdm::testing::TemporaryFolder folder;
  folder.write("x.toml", "[\"\\u001b[2J\"]\n\"\\u009b\" = 1\n");
  const std::string unknown = casdm::testing::message_of<ConfigError>(
      [] { resolve(load_document("x.toml"), schema_of<Experiment>(), fake_catalog()); });
  CHECK(printable(unknown) == unknown);
  CHECK(unknown.find("\\u001B[2J") != std::string::npos);
  folder.write("y.toml", "a = \x1b\n");
  const std::string bad = casdm::testing::message_of<ConfigError>([] { load_document("y.toml"); });
  CHECK(printable(bad) == bad);
}

TEST_CASE("overrides of any bytes are applied or refused with ConfigError") {
  const casdm::testing::TemporaryFolder folder;
  folder.write("x.toml", kExperiment);
  const std::string alphabet = "ab.[]0\"'= {},\n#type";
  std::mt19937 random(5);
  for (int i = 0; i < 500; ++i) {
    std::string override = random() % 2 == 0 ? "metrics.0." : "";
    for (unsigned length = random() % 12; length > 0; --length) override += alphabet[random() % alphabet.size()];
    try {
      load_document("x.toml", {override});
    } catch (const ConfigError&) {
    }
  }
}
