#include <doctest/doctest.h>

#include <map>

#include "casdm/text.h"
#include "casdm/value.h"
#include "framework/support/files.h"
#include "integration/program.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

/// Name and SHA-256 of every file.
std::map<std::string, std::string> files(const fs::path& folder) {
  std::map<std::string, std::string> result;
  for (const auto& entry : fs::directory_iterator(folder))
    result[entry.path().filename().string()] = sha256_of_file(entry.path());
  return result;
}

Value entry_of(const fs::path& file, const std::vector<std::string>& path) {
  Value value = from_json(read_file(file));
  for (const std::string& key : path) {
    const Value* next = value.find(key);
    REQUIRE_MESSAGE(next != nullptr, key);
    value = Value(*next);
  }
  return value;
}

void train_small(const fs::path& folder, const std::string& words = "") {
  write_small_config(folder);
  const Outcome train =
      shell("casdm train small.toml --set train.total_images=8 --set log.sample_count=0 " + words, folder);
  REQUIRE_MESSAGE(train.status == 0, train.err);
}

/// Starts `command`, sends it `signal` once its first batch is recorded, and waits for its end.
Outcome interrupted(const std::string& command, const std::string& out, const std::string& signal,
                    const fs::path& folder) {
  return shell(command + " & p=$!\nwhile ! grep -q '\"crc32\": [1-9]' " + out +
                   "/sampling.json 2>/dev/null && kill -0 $p; do sleep 0.05; done\nkill -" + signal + " $p; wait $p",
               folder);
}

}  // namespace

TEST_CASE("a folder of samples says how it was made") {
  const TemporaryFolder folder;
  train_small(folder.path(), "--set data.use_labels=true");
  const Outcome sample =
      shell("casdm sample runs/small --num 3 --out s --seed 7 --eta 0.5 --weights raw --label 2", folder.path());
  REQUIRE_MESSAGE(sample.status == 0, sample.err);
  const fs::path record = folder.path() / "s/sampling.json";
  const std::map<std::string, Value> expected = {
      {"seed", 7},       {"images", 3},         {"labels", 2},      {"steps", 4},    {"batch", 64},
      {"device", "cpu"}, {"precision", "fp32"}, {"image_size", 16}, {"channels", 3}, {"png", true}};
  for (const auto& [key, value] : expected) CHECK_MESSAGE(entry_of(record, {"settings", key}) == value, key);
  CHECK(entry_of(record, {"run"}) == Value("runs/small"));
  CHECK(entry_of(record, {"checkpoint", "path"}) == Value("runs/small/checkpoints/000000000008"));
  CHECK(entry_of(record, {"checkpoint", "images"}) == Value(8));
  CHECK(entry_of(record, {"settings", "weights", "name"}) == Value("raw"));
  CHECK(entry_of(record, {"settings", "sampler", "eta"}) == Value(0.5));
  CHECK(entry_of(record, {"settings", "sampler", "spacing"}).is_string());
  CHECK(entry_of(record, {"settings", "guidance", "scale"}) == Value(1.0));
  CHECK(entry_of(record, {"settings", "threads"}).as_integer() >= 1);
  CHECK(entry_of(record, {"settings", "program"}).as_string().starts_with("casdm "));
  CHECK(entry_of(record, {"settings", "plugins"}).find("sampler_diffusion") != nullptr);
  CHECK(entry_of(record, {"drawn", "complete"}) == Value(true));
  CHECK(read_file(folder.path() / "s/000001.png").find("\"label\":2") != std::string::npos);
  // A sampler that begins next to the clean image returns the noise, which is said.
  const std::string noise = "the samples are the noise that they begin with";
  CHECK_FALSE(contains(sample.err, noise));
  const Outcome one = shell("casdm sample runs/small --num 1 --out one --sampler ddim --steps 1", folder.path());
  CHECK(one.status == 0);
  CHECK_MESSAGE(contains(one.err, noise), one.err);
  // The grid of a training says how it was made, too.
  REQUIRE(shell("casdm train --resume runs/small --set train.total_images=12 --set log.sample_count=2", folder.path())
              .status == 0);
  const std::string grid = read_file(folder.path() / "runs/small/samples/12.png");
  for (const char* part : {"tEXtcasdm", "\"run\":\"small\"", "\"images\":12", "\"sampler\":{"})
    CHECK_MESSAGE(grid.find(part) != std::string::npos, part);
}

TEST_CASE("a stopped or killed sampling is continued by the same command and ends with the same bits") {
  const TemporaryFolder folder;
  train_small(folder.path());
  for (const std::string words : {"", " --no-png"}) {
    const std::string command = "casdm sample runs/small --num 42 --batch 4 --steps 20 --eta 1 --seed 3" + words;
    const std::string suffix = words.empty() ? "" : "-npz";
    REQUIRE(shell(command + " --out whole" + suffix, folder.path()).status == 0);
    for (const std::string signal : {"TERM", "INT", "KILL"}) {
      const std::string out = signal + suffix;
      const Outcome stopped = interrupted(command + " --out " + out, out, signal, folder.path());
      CHECK_MESSAGE(stopped.status == (signal == "KILL" ? 137 : 1), stopped.err);
      if (signal != "KILL")
        CHECK_MESSAGE(stopped.err.find("The same command continues from there") != std::string::npos, stopped.err);
      CHECK_FALSE(fs::exists(folder.path() / out / "samples.npz"));
      const Outcome other = shell(command + " --seed 4 --out " + out, folder.path());
      CHECK(other.status == 2);
      const Outcome rest = shell(command + " --out " + out, folder.path());
      CHECK_MESSAGE(rest.status == 0, rest.err);
      CHECK_MESSAGE(rest.err.find("continuing after ") != std::string::npos, rest.err);
      CHECK(files(folder.path() / out) == files(folder.path() / ("whole" + suffix)));
    }
  }
}

TEST_CASE("an unfinished sampling keeps using its checkpoint as long as the run has it") {
  const TemporaryFolder folder;
  train_small(folder.path());
  const std::string sampling = "casdm sample runs/small --num 42 --batch 4 --steps 20 --no-png --out ";
  const std::string command = sampling + "s";
  REQUIRE(shell(sampling + "whole", folder.path()).status == 0);
  interrupted(command, "s", "TERM", folder.path());
  REQUIRE(shell("casdm train --resume runs/small --set train.total_images=16", folder.path()).status == 0);
  interrupted(sampling + "moved", "moved", "TERM", folder.path());
  const Outcome rest = shell(command, folder.path());
  CHECK_MESSAGE(rest.status == 0, rest.err);
  CHECK(files(folder.path() / "s") == files(folder.path() / "whole"));
  // Once it is complete, another checkpoint makes another sampling.
  const Outcome newer = shell(command, folder.path());
  CHECK(newer.status == 2);
  CHECK_MESSAGE(newer.err.find("weights.sha256") != std::string::npos, newer.err);
  // However the run is called, and wherever it is by now.
  fs::rename(folder.path() / "runs/small", folder.path() / "runs/renamed");
  const Outcome moved =
      shell("casdm sample \"$PWD/runs/renamed\" --num 42 --batch 4 --steps 20 --no-png --out moved", folder.path());
  CHECK_MESSAGE(moved.status == 0, moved.err);
  CHECK_MESSAGE(moved.err.find("continuing after ") != std::string::npos, moved.err);
}

TEST_CASE("an unfinished sampling of the best checkpoint goes on with it after another has become the best") {
  const TemporaryFolder folder;
  train_small(folder.path());
  const fs::path best = folder.path() / "runs/small/checkpoints/best";
  const std::string options = " --num 42 --batch 4 --steps 20 --no-png --out ";
  fs::create_directory_symlink("000000000008", best);
  const std::vector<std::string> commands = {
      "casdm sample runs/small/checkpoints/best" + options + "s0",
      "casdm sample runs/small/checkpoints/best/" + options + "s1",
      "cd runs/small/checkpoints && casdm sample best" + options + "../../../s2"};
  for (std::size_t i = 0; i < commands.size(); ++i) interrupted(commands[i], text("s", i), "TERM", folder.path());
  REQUIRE(shell("casdm train --resume runs/small --set train.total_images=16", folder.path()).status == 0);
  // Another command is another sampling.
  interrupted("casdm sample runs/small" + options + "s3", "s3", "TERM", folder.path());
  const Outcome other = shell("casdm sample runs/small/checkpoints/best" + options + "s3", folder.path());
  CHECK(other.status == 2);
  CHECK_MESSAGE(other.err.find("holds another sampling, unfinished") != std::string::npos, other.err);
  fs::remove(best);
  fs::create_directory_symlink("000000000016", best);
  for (std::size_t i = 0; i < commands.size(); ++i) {
    const Outcome rest = shell(commands[i], folder.path());
    CHECK_MESSAGE(rest.status == 0, rest.err);
    CHECK_MESSAGE(rest.err.find("continuing after ") != std::string::npos, rest.err);
    const std::string made = read_file(folder.path() / text("s", i) / "sampling.json");
    CHECK_MESSAGE(made.find("000000000008\"") != std::string::npos, made);
  }
}

TEST_CASE("an unfinished sampling whose checkpoint is gone is never mixed with another checkpoint's images") {
  const TemporaryFolder folder;
  train_small(folder.path());
  const std::string command = "casdm sample runs/small --num 42 --batch 4 --steps 20 --out s";
  interrupted(command, "s", "TERM", folder.path());
  const auto before = files(folder.path() / "s");
  const std::string on = "casdm train --resume runs/small --set checkpoint.keep_last=1 --set train.total_images=";
  REQUIRE(shell(on + "16", folder.path()).status == 0);
  const Outcome refused = shell(command, folder.path());
  CHECK(refused.status == 2);
  for (const char* part : {"another sampling, unfinished", "weights.sha256", "--overwrite",
                           "s was begun with the checkpoint 000000000008, which runs/small does not have"})
    CHECK_MESSAGE(refused.err.find(part) != std::string::npos, refused.err);
  CHECK(files(folder.path() / "s") == before);
  REQUIRE(shell(command + " --overwrite", folder.path()).status == 0);
  const std::string fresh = "casdm sample runs/small --num 42 --batch 4 --steps 20 --overwrite --out whole";
  const Outcome stopped = interrupted(fresh, "whole", "TERM", folder.path());
  CHECK_MESSAGE(stopped.err.find("The same command without --overwrite continues") != std::string::npos, stopped.err);
  const Outcome rest = shell(fresh, folder.path());
  CHECK_MESSAGE(rest.err.find("continuing after") != std::string::npos, rest.err);
  CHECK(files(folder.path() / "s") == files(folder.path() / "whole"));
}

TEST_CASE("samples of two runs never share a folder") {
  const TemporaryFolder folder;
  train_small(folder.path());
  REQUIRE(
      shell("casdm train small.toml --set run.name=other --set run.seed=1 --set train.total_images=8", folder.path())
          .status == 0);
  REQUIRE(shell("casdm sample runs/small --num 5 --out s", folder.path()).status == 0);
  const auto before = files(folder.path() / "s");
  const Outcome mixed = shell("casdm sample runs/other --num 5 --out s", folder.path());
  CHECK(mixed.status == 2);
  for (const char* part : {"another sampling", "weights.sha256", "--overwrite"})
    CHECK_MESSAGE(mixed.err.find(part) != std::string::npos, mixed.err);
  CHECK(files(folder.path() / "s") == before);
  const Outcome again = shell("casdm sample runs/small --num 5 --out s", folder.path());
  CHECK(again.status == 0);
  CHECK_MESSAGE(again.err.find("the sampling is complete") != std::string::npos, again.err);
  REQUIRE(shell("casdm sample runs/other --num 2 --out s --overwrite", folder.path()).status == 0);
  CHECK(files(folder.path() / "s").size() == 5);
}

TEST_CASE("sampling needs no metric, no data set and no timestep sampler") {
  const TemporaryFolder folder;
  fs::create_directories(folder.path() / "mine");
  fs::copy_file(fs::path(CASDM_TEST_PLUGIN_DIR) / "metric_faulty.so", folder.path() / "mine/metric_faulty.so");
  train_small(folder.path(),
              "--set 'metrics=[{type=\"faulty\",after=1000}]' --set 'plugins.paths=[\"mine\"]' --set "
              "timesteps.type=logit_normal --trust-plugins");
  fs::remove_all(folder.path() / "mine");
  const Outcome sample = shell("casdm sample runs/small --num 1 --out s", folder.path());
  CHECK_MESSAGE(sample.status == 0, sample.err);
  for (const std::string key :
       {"metrics[0].weight=1", "train.batch_size=2", "timesteps.type=uniform", "data.type=shapes", "run.seed=3",
        "ema.decay=0.5", "data.random_flip=true", "data.workers=3", "data.label_dropout=0.5"}) {
    const Outcome unused = shell("casdm sample runs/small --num 1 --out u --set '" + key + "'", folder.path());
    CHECK_MESSAGE(unused.status == 2, key);
    CHECK_MESSAGE(unused.err.find("sampling does not use this key") != std::string::npos, unused.err);
  }
}

TEST_CASE("a run of fp16 is sampled in fp32 on a CPU, with a message") {
  const TemporaryFolder folder;
  train_small(folder.path());
  const Outcome sample =
      shell("casdm sample runs/small --num 1 --out s --device cpu --set run.precision=fp16", folder.path());
  CHECK_MESSAGE(sample.status == 0, sample.err);
  CHECK_MESSAGE(sample.err.find("sampling in fp32 on the CPU") != std::string::npos, sample.err);
  CHECK(entry_of(folder.path() / "s/sampling.json", {"settings", "precision"}) == Value("fp32"));
  const Outcome device = shell("casdm sample runs/small --num 1 --out t --device gpu", folder.path());
  CHECK(device.status == 2);
  CHECK_MESSAGE(device.err.find("run.device") != std::string::npos, device.err);
}

TEST_CASE("sampling obeys run.threads") {
  const TemporaryFolder folder;
  train_small(folder.path(), "--set run.threads=0");
  for (const int threads : {1, 2}) {
    const std::string count = std::to_string(threads);
    const Outcome sample =
        shell("casdm sample runs/small --num 1 --out s" + count + " --set run.threads=" + count, folder.path());
    CHECK_MESSAGE(sample.status == 0, sample.err);
    CHECK(entry_of(folder.path() / ("s" + count) / "sampling.json", {"settings", "threads"}) == Value(threads));
    // The last bits of images depend on the number, so the same command uses it again.
    const Outcome again = shell("OMP_NUM_THREADS=3 casdm sample runs/small --num 1 --out s" + count, folder.path());
    CHECK_MESSAGE(again.status == 0, again.err);
  }
}

TEST_CASE("--overwrite replaces a damaged sampling.json of ours, and no other") {
  const TemporaryFolder folder;
  train_small(folder.path());
  const std::string sample = "casdm sample runs/small --num 1 --out s";
  REQUIRE(shell(sample, folder.path()).status == 0);
  const std::string record = read_file(folder.path() / "s/sampling.json");
  write_file(folder.path() / "s/sampling.json", record.substr(0, record.size() / 2));
  CHECK(shell(sample, folder.path()).status == 2);
  CHECK(shell(sample + " --overwrite", folder.path()).status == 0);
  for (const auto& [name, content] : {std::pair<std::string, std::string>{"sampling.json", "my notes"},
                                      {"sampling.json", R"({"rate": 44100, "format": "wav"})"},
                                      {"sampling.json", "[{\"format\""},
                                      {"samples.npz.part", "my notes"}}) {
    CAPTURE(name);
    fs::create_directory(folder.path() / "mine");
    write_file(folder.path() / "mine" / name, content);
    const Outcome refused = shell("casdm sample runs/small --num 1 --out mine --overwrite", folder.path());
    CHECK_MESSAGE(refused.status == 2, refused.err);
    CHECK(read_file(folder.path() / "mine" / name) == content);
    fs::remove_all(folder.path() / "mine");
  }
}

TEST_CASE("a sampling.json that is a pipe does not block") {
  const TemporaryFolder folder;
  train_small(folder.path());
  const Outcome outcome =
      shell("mkdir s && mkfifo s/sampling.json && timeout 20 casdm sample runs/small --num 1 --out s", folder.path());
  CHECK(outcome.status == 1);
  CHECK_MESSAGE(outcome.err.find("is not a regular file") != std::string::npos, outcome.err);
}
