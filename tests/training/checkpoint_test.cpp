#include "framework/training/checkpoint.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <thread>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "framework/support/files.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

CheckpointContent content(std::int64_t images) {
  Value numbers = Value::Table{{"step", images / 4}, {"images", images}, {"num_classes", 5}};
  Value config = Value::Table{{"optimizer", Value::Table{{"clip_norm", kInfinity}, {"eps", 1e-300}}}};
  const NamedTensors weights = {{"theta.a", at::arange(3)}, {"theta.b", at::ones({2, 2})}};
  return {std::move(numbers), {{"weights", weights}, {"ema", weights}, {"ema-slow", weights}}, std::move(config), {}};
}

RunFolder new_run(const TemporaryFolder& folder) { return RunFolder::create(folder.path() / "run", Value::Table{}); }

const auto ignore = [](const std::string&) {};

/// Without syncing, since it is called thousands of times.
void put_unsynced(const fs::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

std::int64_t read_step(const RunFolder& run) {
  const Checkpoint checkpoint = Checkpoint::open(run.path());
  return checkpoint.count("step", checkpoint.images());
}

/// Writes state.json with a matching checksum.
void put_state(const fs::path& checkpoint, const std::string& json) {
  write_file(checkpoint / "state.json", json);
  write_file(checkpoint / "state.json.sha256", sha256(json) + "  state.json\n");
}

std::string replaced(std::string content, const std::string& old, const std::string& with) {
  const std::size_t at = content.find(old);
  REQUIRE_MESSAGE(at != std::string::npos, content);
  return content.replace(at, old.size(), with);
}

}  // namespace

TEST_CASE("a checkpoint gives back what was saved, including infinite and undefined numbers") {
  const TemporaryFolder folder;
  const RunFolder run = new_run(folder);
  CheckpointContent given = content(16);
  given.numbers.set("sums", Value::Array{kInfinity, -kInfinity, 0.1, 1e308, std::nan(""), -0.0});
  const fs::path path = Checkpoint::save(run, given);
  CHECK(path == run.checkpoints() / "000000000016");
  const Checkpoint read = Checkpoint::open(run.path());
  CHECK(read.config() == given.config);
  CHECK(read.images() == 16);
  CHECK(read.num_classes() == 5);
  CHECK(read.count("step") == 4);
  const Value::Array& sums = read.numbers().find("sums")->as_array();
  CHECK(sums[0].as_number() == kInfinity);
  CHECK(sums[1].as_number() == -kInfinity);
  CHECK(sums[2].as_number() == 0.1);
  CHECK(sums[3].as_number() == 1e308);
  CHECK(std::isnan(sums[4].as_number()));
  CHECK(std::signbit(sums[5].as_number()));
  CHECK(read.tensors("weights").size() == 2);
  CHECK(at::equal(read.tensors("ema-slow")[1].second, at::ones({2, 2})));
  CHECK_FALSE(read.has("optimizer"));
  CHECK_THROWS_WITH_AS(read.tensors("optimizer"), doctest::Contains("has no optimizer.safetensors"), Error);
  // There is nothing else in the folder, and sha256sum can check the state.
  CHECK(names_in(path) == std::vector<std::string>{"ema-slow.safetensors", "ema.safetensors", "state.json",
                                                   "state.json.sha256", "weights.safetensors"});
  CHECK(std::system(("cd '" + path.string() + "' && sha256sum --quiet -c state.json.sha256").c_str()) == 0);
}

TEST_CASE("every flipped bit and every truncation in a checkpoint's files is refused by name") {
  const TemporaryFolder folder;
  const RunFolder run = new_run(folder);
  const fs::path path = Checkpoint::save(run, content(16));
  int flips = 0;
  for (const std::string& name : names_in(path)) {
    const std::string whole = read_file(path / name);
    // Every bit of the state, on which everything depends; every 11th of the others.
    for (std::size_t bit = 0; bit < 8 * whole.size(); bit += name == "state.json" ? 1 : 11, ++flips) {
      std::string flipped = whole;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
      put_unsynced(path / name, flipped);
      CHECK_THROWS_WITH_AS(Checkpoint::open(run.path()), doctest::Contains(name.c_str()), Error);
    }
    for (const std::size_t size : {std::size_t{0}, whole.size() / 2, whole.size() - 1}) {
      put_unsynced(path / name, whole.substr(0, size));
      CHECK_THROWS_WITH_AS(Checkpoint::open(run.path()), doctest::Contains(path.c_str()), Error);
    }
    fs::remove(path / name);
    CHECK_THROWS_AS(Checkpoint::open(run.path()), Error);
    write_file(path / name, whole);
  }
  CHECK_NOTHROW(Checkpoint::open(run.path()));
  CHECK(flips > 5000);
}

TEST_CASE("impossible numbers are refused by name") {
  const TemporaryFolder folder;
  const RunFolder run = new_run(folder);
  const fs::path path = Checkpoint::save(run, content(16));
  const std::string state = read_file(path / "state.json");
  const std::vector<std::array<const char*, 3>> cases = {
      {"\"images\": 16", "\"images\": -16", "'images' is -16"},
      {"\"images\": 16", "\"images\": 1e300", "'images' is float"},
      {"\"images\": 16", "\"images\": 99", "its name says"},
      {"\"step\": 4", "\"step\": -1", "'step' is -1"},
      {"\"step\": 4", "\"step\": 17", "'step' is 17"},
      {"\"step\": 4", "\"steps\": 4", "'step' is missing"},
      {"\"num_classes\": 5", "\"num_classes\": -5", "'num_classes' is -5"},
      {"\"num_classes\": 5", "\"num_classes\": 100000000", "'num_classes' is 100000000"},
      {"\"format\": 2", "\"format\": 3", "format 3"},
      {"\"format\": 2", "\"format\": \"two\"", "'format'"},
      {"\"config\"", "\"cfg\"", "no 'config'"},
      {"\"ema-slow.safetensors\"", "\"../../weights.safetensors\"", "names a file '../../weights.safetensors'"},
      {"{", "", "not JSON"},
  };
  for (const auto& [old, with, expected] : cases) {
    put_state(path, replaced(state, old, with));
    CHECK_THROWS_WITH_AS(read_step(run), doctest::Contains(expected), Error);
  }
  put_state(path, state);
  CHECK(read_step(run) == 4);
}

TEST_CASE("a checkpoint of version 0.1 can be read") {
  const TemporaryFolder folder;
  const RunFolder run = new_run(folder);
  const fs::path path = Checkpoint::save(run, content(16));
  const std::string state = read_file(path / "state.json");
  fs::remove(path / "state.json.sha256");
  Value record = from_json(state);
  record.set("format", 1);
  const Value numbers = *record.find("numbers");
  for (const auto& [key, value] : numbers.as_table()) record.set(key, value);
  record.set("loss_scales", Value::Array{65536.0, 7.0});
  record.set("numbers", Value());
  record.set("config", Value::Table{{"optimizer", Value::Table{{"clip_norm", 1.0}}}});
  write_file(path / "state.json", to_json(record, 1));
  const Checkpoint read = Checkpoint::open(run.path());
  CHECK(read.count("step") == 4);
  CHECK(read.images() == 16);
  CHECK(read.num_classes() == 5);
  CHECK(read.numbers().find("loss_scales")->as_array().size() == 2);
  CHECK(read.tensors("weights").size() == 2);
  record.set("step", -1);
  write_file(path / "state.json", to_json(record, 1));
  CHECK_THROWS_WITH_AS(read_step(run), doctest::Contains("'step' is -1"), Error);
}

TEST_CASE("only folders with twelve digits are checkpoints of a run") {
  const TemporaryFolder folder;
  const RunFolder run = new_run(folder);
  CHECK_THROWS_AS(Checkpoint::open(run.path()), NoCheckpoint);
  const fs::path path = Checkpoint::save(run, content(16));
  for (const char* name : {"best", "000000000099-copy", "99", "9999999999999", "00000000009x", "zzzzzzzzzzzz"}) {
    fs::copy(path, run.checkpoints() / name);
  }
  fs::create_directory(run.checkpoints() / "000000000098");
  CHECK(Checkpoint::open(run.path()).path() == path);
  CHECK(Checkpoint::open(run.checkpoints() / "best").images() == 16);
  Checkpoint::remove_old(run, path, 1, ignore);
  CHECK(names_in(run.checkpoints()).size() == 8);
  // A copy under another number does not match its name.
  fs::copy(path, run.checkpoints() / "000000000099");
  CHECK_THROWS_WITH_AS(Checkpoint::open(run.path()), doctest::Contains("was it renamed?"), Error);
}

TEST_CASE("old checkpoints are removed, but never the one just saved, nor one that is being read") {
  const TemporaryFolder folder;
  const RunFolder run = new_run(folder);
  for (const std::int64_t images : {8, 16, 24, 32}) Checkpoint::save(run, content(images));
  {
    const Checkpoint reading = Checkpoint::open(run.checkpoints() / "000000000016");
    const Checkpoint copy = reading;
    Checkpoint::remove_old(run, run.checkpoints() / "000000000008", 1, ignore);
    CHECK(names_in(run.checkpoints()) == std::vector<std::string>{"000000000008", "000000000016", "000000000032"});
    CHECK(copy.tensors("weights").size() == 2);
  }
  Checkpoint::remove_old(run, run.checkpoints() / "000000000032", 1, ignore);
  CHECK(names_in(run.checkpoints()) == std::vector<std::string>{"000000000032"});
}

TEST_CASE("the rest of a partly removed old checkpoint is removed with the next one") {
  const TemporaryFolder folder;
  const RunFolder run = new_run(folder);
  for (const std::int64_t images : {8, 16}) Checkpoint::save(run, content(images));
  fs::rename(run.checkpoints() / "000000000008", temporary_beside(run.checkpoints() / "000000000008"));
  Checkpoint::remove_old(run, run.checkpoints() / "000000000016", 1, ignore);
  CHECK(names_in(run.checkpoints()) == std::vector<std::string>{"000000000016"});
}

TEST_CASE("an old checkpoint that cannot be removed is a warning") {
  const TemporaryFolder folder;
  const RunFolder run = new_run(folder);
  for (const std::int64_t images : {8, 16}) Checkpoint::save(run, content(images));
  const bool is_root = ::geteuid() == 0;
  fs::permissions(folder.path(), fs::perms::all);
  ::chmod(run.checkpoints().c_str(), 0555);
  if (is_root) REQUIRE(::seteuid(65534) == 0);
  std::vector<std::string> warnings;
  Checkpoint::remove_old(run, run.checkpoints() / "000000000016", 1,
                         [&](const std::string& warning) { warnings.push_back(warning); });
  if (is_root) REQUIRE(::seteuid(0) == 0);
  ::chmod(run.checkpoints().c_str(), 0755);
  REQUIRE(warnings.size() == 1);
  CHECK_MESSAGE(warnings[0].find("000000000008\" cannot be removed: Permission denied") != std::string::npos,
                warnings[0]);
  CHECK(names_in(run.checkpoints()).size() == 2);
}

TEST_CASE("a checkpoint that the user has protected keeps its name") {
  const TemporaryFolder folder;
  const RunFolder run = new_run(folder);
  for (const std::int64_t images : {8, 16}) Checkpoint::save(run, content(images));
  const fs::path kept = run.checkpoints() / "000000000008";
  const bool is_root = ::geteuid() == 0;
  fs::permissions(folder.path(), fs::perms::all);
  fs::permissions(run.checkpoints(), fs::perms::all);
  ::chmod(kept.c_str(), 0555);
  if (is_root) REQUIRE(::seteuid(65534) == 0);
  std::string warning;
  Checkpoint::remove_old(run, run.checkpoints() / "000000000016", 1, [&](const std::string& said) { warning = said; });
  if (is_root) REQUIRE(::seteuid(0) == 0);
  CHECK_MESSAGE(warning.find("cannot be removed: Permission denied in") != std::string::npos, warning);
  CHECK(names_in(run.checkpoints()).size() == 2);
  CHECK_NOTHROW(Checkpoint::open(kept));
  ::chmod(kept.c_str(), 0755);
}

TEST_CASE("an old checkpoint with a user's file in it is kept") {
  const TemporaryFolder folder;
  const RunFolder run = new_run(folder);
  for (const std::int64_t images : {8, 16}) Checkpoint::save(run, content(images));
  write_file(run.checkpoints() / "000000000008" / "notes.txt", "mine");
  std::string warning;
  Checkpoint::remove_old(run, run.checkpoints() / "000000000016", 1, [&](const std::string& said) { warning = said; });
  CHECK_MESSAGE(warning.find("is kept: it contains \"notes.txt\"") != std::string::npos, warning);
  CHECK(read_file(run.checkpoints() / "000000000008" / "notes.txt") == "mine");
}

TEST_CASE("an existing entry with the name of a new checkpoint is kept beside it") {
  const TemporaryFolder folder;
  const RunFolder run = new_run(folder);
  const fs::path path = run.checkpoints() / "000000000016";
  for (const char* text : {"one", "two"}) {
    fs::create_directory(path);
    write_file(path / "notes.txt", text);
    Checkpoint::save(run, content(16));
    fs::remove_all(path);
  }
  CHECK(read_file(run.checkpoints() / "000000000016.set-aside-1" / "notes.txt") == "one");
  CHECK(read_file(run.checkpoints() / "000000000016.set-aside-2" / "notes.txt") == "two");
}

TEST_CASE("a state that is a pipe, a folder or huge is refused immediately") {
  const TemporaryFolder folder;
  const RunFolder run = new_run(folder);
  const fs::path path = Checkpoint::save(run, content(16));
  for (const char* name : {"state.json", "state.json.sha256"}) {
    const std::string whole = read_file(path / name);
    fs::remove(path / name);
    REQUIRE(::mkfifo((path / name).c_str(), 0600) == 0);
    CHECK_THROWS_WITH_AS(Checkpoint::open(run.path()), doctest::Contains("is not a regular file"), Error);
    fs::remove(path / name);
    fs::create_directory(path / name);
    CHECK_THROWS_WITH_AS(Checkpoint::open(run.path()), doctest::Contains("is not a regular file"), Error);
    fs::remove(path / name);
    put_unsynced(path / name, whole);
    fs::resize_file(path / name, std::uintmax_t{1} << 40);
    CHECK_THROWS_WITH_AS(Checkpoint::open(run.path()), doctest::Contains("is larger than"), Error);
    put_unsynced(path / name, whole);
  }
  CHECK_NOTHROW(Checkpoint::open(run.path()));
}

TEST_CASE("a run has a checkpoint while a training puts a newer one in the place of the only one") {
  const TemporaryFolder folder;
  const RunFolder run = new_run(folder);
  std::jthread training([&, newest = Checkpoint::save(run, content(8))](const std::stop_token& stop) mutable {
    for (std::int64_t images = 100'000'000'000; !stop.stop_requested(); ++images) {
      const fs::path next = run.checkpoints() / std::to_string(images);
      fs::rename(newest, next);
      newest = next;
    }
  });
  std::size_t misses = 0;
  for (int i = 0; i < 20'000; ++i) misses += Checkpoint::all(run).empty() ? 1 : 0;
  CHECK(misses == 0);
}
