// Damaged input never crashes and never gives anything but a clear refusal.
#include <doctest/doctest.h>

#include <cstring>
#include <fstream>
#include <random>
#include <sstream>

#include "casdm/elf_note.h"
#include "casdm/plugin_description.h"
#include "framework/config/document.h"
#include "framework/config/experiment.h"
#include "framework/config/parse_toml.h"
#include "framework/loading/note_summary.h"
#include "support.h"

using namespace casdm;
using casdm::testing::fake_catalog;

namespace {

std::string fixture() {
  std::ostringstream content;
  content << std::ifstream(CASDM_FIXTURE, std::ios::binary).rdbuf();
  return content.str();
}

enum class Outcome { description, no_note, refused };

/// Reads from memory of exactly the size, so that a sanitizer sees any read beyond.
Outcome read(const std::string& bytes) {
  const std::vector<unsigned char> exact(bytes.begin(), bytes.end());
  try {
    const auto note = read_elf_note(exact.data(), exact.size(), "library");
    if (!note) return Outcome::no_note;
    PluginDescription description = description_from_json(note->json);
    for (ComponentEntry& component : description.components) component.options.clear();
    CHECK(to_json(summary_from_json(note->json)) == to_json(description));
    return Outcome::description;
  } catch (const PluginError& error) {
    CHECK(std::strlen(error.what()) > 0);
    return Outcome::refused;
  }
}

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

TEST_CASE("a library cut at any length is refused") {
  const std::string whole = fixture();
  REQUIRE(read(whole) == Outcome::description);
  for (std::size_t length = 0; length < whole.size(); length += length < 6000 ? 1 : 997) {
    const Outcome outcome = read(whole.substr(0, length));
    CAPTURE(length);
    // The note stands near the front; once all of it is there, the rest is not looked at.
    if (outcome == Outcome::description) break;
    REQUIRE(outcome == Outcome::refused);
  }
}

TEST_CASE("a library with flipped bits gives a description, no note, or a refusal") {
  const std::string whole = fixture();
  REQUIRE(whole.size() > 4096);
  const std::size_t note = whole.find("casdm\0"), front = 64 + 56 * 12;
  std::mt19937 random(7);
  int refused = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string bytes = whole.substr(0, std::min(whole.size(), note + 8192));
    for (unsigned flips = random() % 6 + 1; flips > 0; --flips) {
      const std::size_t at = random() % 2 == 0 ? random() % front : note - 16 + random() % 4096;
      if (at < bytes.size()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
    }
    refused += read(bytes) == Outcome::refused;
  }
  CHECK(refused > 1000);
}

TEST_CASE("program headers and notes of extreme sizes are refused") {
  const std::string whole = fixture();
  REQUIRE(whole.size() > 4096);
  for (const std::uint64_t value : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{0x7fffffff}, ~std::uint64_t{0},
                                    ~std::uint64_t{7}, std::uint64_t{1} << 63}) {
    for (std::size_t at = 16; at < 64 + 56 * 12; at += 4) {
      std::string bytes = whole;
      std::memcpy(bytes.data() + at, &value, sizeof(value));
      read(bytes);
    }
  }
}

TEST_CASE("a damaged experiment is read or refused with ConfigError, never worse") {
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

TEST_CASE("nesting without end is refused") {
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
