#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "casdm/text.h"
#include "casdm/value.h"
#include "evaluation/evaluate_program.h"
#include "framework/reporting/image_files.h"
#include "framework/support/files.h"
#include "framework/support/sealed_json.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

/// Writes `count` images of 16 px, each of one colour that follows from `seed` and its number.
void write_images(const fs::path& folder, std::int64_t count, std::int64_t seed) {
  fs::create_directories(folder);
  for (std::int64_t i = 0; i < count; ++i) {
    const at::Tensor image = at::full({3, 16, 16}, (seed + 7 * i) % 256, at::kByte);
    write_png(folder / text(i, ".png"), to_image(image));
  }
}

/// Trains runs/small on the images in folder/images, or on other `data`.
void train_on_images(const fs::path& folder, const std::string& data = "path=\"images\"",
                     const std::string& more = "") {
  write_small_config(folder, kJudges);
  const Outcome train = shell("casdm train small.toml --set 'data={type=\"folder\",image_size=16," + data +
                                  "}' --set train.total_images=8 --set log.sample_count=0 " + more + kPlugin,
                              folder);
  REQUIRE_MESSAGE(train.status == 0, train.err);
}

std::string warnings_of(const Value& record) { return to_json(entry_of(record, "warnings")); }

}  // namespace

TEST_CASE("it is said if the images of a run's data are not those that it was trained with") {
  const TemporaryFolder folder;
  write_images(folder.path() / "images", 100, 1);
  train_on_images(folder.path());
  const Value same = json_of(evaluate("runs/small --num 8 --json", folder.path()));
  CHECK_FALSE(contains(warnings_of(evaluation(same)), "not those"));

  fs::remove_all(folder.path() / "images");
  write_images(folder.path() / "images", 80, 1);
  const std::string fewer = "the data are not those of the checkpoint: 80 images instead of 100";
  const Value json = json_of(evaluate("runs/small --num 8 --floor --json", folder.path()));
  for (const std::size_t i : {0, 1}) CHECK(contains(warnings_of(evaluation(json, i)), fewer));
  const Outcome table = evaluate("runs/small --num 8", folder.path());
  CHECK_MESSAGE(contains(table.out, "warning: " + fewer), table.out);
  for (const fs::path& record : records_in(folder.path() / "runs/small")) {
    CHECK(contains(read_file(record), fewer) == (from_json(read_file(record)) != evaluation(same)));
  }

  // Images that are asked for are nobody's mistake.
  const Value asked = json_of(evaluate("runs/small --num 8 --reference images --json", folder.path()));
  CHECK_FALSE(contains(warnings_of(evaluation(asked)), "not those"));
  CHECK(contains(evaluate("runs/small --num 8", folder.path()).out, fewer));

  fs::remove_all(folder.path() / "images");
  write_images(folder.path() / "images", 100, 2);
  const Value replaced = json_of(evaluate("runs/small --num 8 --json", folder.path()));
  CHECK_MESSAGE(contains(warnings_of(evaluation(replaced)), "16 of the 16 images that were looked at are others"),
                warnings_of(evaluation(replaced)));
}

TEST_CASE("an evaluation warns if its reference holds some of the images that the run was trained with") {
  const TemporaryFolder folder;
  const fs::path data = folder.path() / "data";
  write_images(data / "a", 100, 1);
  train_on_images(folder.path(), "path=\"data\",split=\"train\"");
  const auto write_data = [&](const std::string& name, const std::string& more) {
    write_file(folder.path() / name, "[data]\ntype = \"folder\"\nimage_size = 16\n" + more);
  };
  write_data("test.toml", "path = \"data\"\nsplit = \"test\"\n");
  write_data("half.toml", "path = \"data/a\"\nfraction = 0.5\n");
  const std::string seen = "the run was trained with ";
  const auto warnings = [&](const std::string& reference) {
    return warnings_of(
        evaluation(json_of(evaluate("runs/small --num 8 --json --reference " + reference, folder.path()))));
  };
  CHECK_FALSE(contains(warnings("test.toml"), seen));
  write_images(data / "b", 100, 3);  // images of the same names, which makes other parts
  const std::string after = warnings("test.toml");
  CHECK_MESSAGE(contains(after, seen), after);
  CHECK_MESSAGE(contains(after, " of the 20 images of the reference, test.toml"), after);
  CHECK_FALSE(contains(warnings("data"), seen));  // all images of the training are in it

  train_on_images(folder.path(), "path=\"data/a\"",
                  "--overwrite --set evaluate.every_images=8 --set evaluate.reference=half.toml");
  const std::string all = seen + "50 of the 50 images of the reference";
  CHECK(contains(read_file(folder.path() / "runs/small/metrics.jsonl"), all));
  const Outcome resumed = shell(
      "casdm train --resume runs/small --allow-other-data --set data.path=data/b --set train.total_images=16 "
      "--set evaluate.every_images=0" +
          kPlugin,
      folder.path());
  REQUIRE_MESSAGE(resumed.status == 0, resumed.err);
  CHECK(contains(warnings("half.toml"), all));
  // Nor does a later resume, with the data of the one before, forget it.
  const Outcome further = shell("casdm train --resume runs/small --set train.total_images=24" + kPlugin, folder.path());
  REQUIRE_MESSAGE(further.status == 0, further.err);
  CHECK(contains(warnings("half.toml"), all));
}

TEST_CASE("scores of a checkpoint that the run gave up meanwhile are printed, and not kept as the run's") {
  const TemporaryFolder folder;
  train_small(folder.path(), "", "--set checkpoint.every_images=4 --set checkpoint.keep_last=9");
  const auto evaluated_while = [&](const std::string& command) {
    return shell(
        "CASDM_CACHE=cache casdm evaluate runs/small --num 1000 --batch 16 --nearest 2 --set "
        "evaluate.reference_num=50" +
            kPlugin +
            " & p=$!\nwhile ! grep -q 'judging ema' .stderr && kill -0 $p; do sleep 0.01; done\n"
            "kill -STOP $p\n" +
            command + "\nkill -CONT $p; wait $p",
        folder.path());
  };
  const fs::path run = folder.path() / "runs/small";
  const Outcome went_back = evaluated_while(
      "casdm train --resume runs/small/checkpoints/000000000004 --set optimizer.learning_rate=2e-2" + kPlugin);
  CHECK_MESSAGE(went_back.status == 0, went_back.err);
  CHECK_MESSAGE(contains(went_back.out, "cells.gap"), went_back.out);
  CHECK_MESSAGE(contains(went_back.err, "warning: these scores are not kept: "), went_back.err);
  CHECK(contains(went_back.err, "went back to an earlier checkpoint"));
  REQUIRE(fs::exists(run / "set-aside-1"));
  for (const fs::path& file : records_in(run)) CHECK(file.filename().string().starts_with("nearest-"));

  const Outcome replaced =
      evaluated_while("casdm train small.toml --overwrite --set train.total_images=8 --set run.seed=9" + kPlugin);
  CHECK_MESSAGE(contains(replaced.err, "warning: these scores are not kept: "), replaced.err);
  CHECK_FALSE(fs::exists(run / "evaluation"));
}

TEST_CASE(
    "all weights of a list are of the checkpoint that was asked for, and what was judged is printed if it is gone") {
  const TemporaryFolder folder;
  train_small(folder.path());
  const Outcome outcome = shell(
      "CASDM_CACHE=cache casdm evaluate runs/small --weights ema,raw --num 1000 --batch 16 --set "
      "evaluate.reference_num=50" +
          kPlugin +
          " & p=$!\nwhile ! grep -q 'judging ema' .stderr && kill -0 $p; do sleep 0.01; done\nkill -STOP $p\n"
          "casdm train small.toml --overwrite --set train.total_images=8 --set run.seed=9" +
          kPlugin + "\nkill -CONT $p; wait $p",
      folder.path());
  CHECK(outcome.status == 1);
  CHECK_MESSAGE(contains(outcome.out, "cells.gap"), outcome.out << outcome.err);
  CHECK_MESSAGE(!contains(outcome.out, "raw"), outcome.out);
  CHECK_MESSAGE(contains(outcome.err, "so it cannot be judged with the weights \"raw\""), outcome.err);
}

TEST_CASE("a record is of the run where it is, and is written through no link") {
  const TemporaryFolder folder;
  train_small(folder.path());
  REQUIRE(evaluate("runs/small --num 8", folder.path()).status == 0);
  fs::rename(folder.path() / "runs/small", folder.path() / "runs/renamed");
  const Outcome again = evaluate("runs/renamed --num 8 --json", folder.path());
  CHECK_MESSAGE(contains(again.err, "already evaluated"), again.err);
  const Value json = json_of(again);
  CHECK(entry_of(evaluation(json), "name") == Value("runs/renamed"));
  CHECK(entry_of(entry_of(evaluation(json), "run"), "path") == Value("runs/renamed"));
  CHECK_NOTHROW(check_seal(evaluation(json)));

  fs::rename(folder.path() / "runs/renamed/evaluation", folder.path() / "elsewhere");
  fs::create_directory_symlink(folder.path() / "elsewhere", folder.path() / "runs/renamed/evaluation");
  const auto count = [&] { return std::distance(fs::directory_iterator(folder.path() / "elsewhere"), {}); };
  const auto before = count();
  const Outcome linked = evaluate("runs/renamed --num 9", folder.path());
  CHECK(linked.status == 2);
  CHECK_MESSAGE(contains(linked.err, "runs/renamed/evaluation is a link to "), linked.err);
  CHECK(count() == before);
}

TEST_CASE("an evaluation belongs to the checkpoint whose digest it records") {
  const TemporaryFolder folder;
  train_small(folder.path());
  const Value json = json_of(evaluate("runs/small --num 8 --json", folder.path()));
  const fs::path run = folder.path() / "runs/small";
  const Value& checkpoint = entry_of(entry_of(evaluation(json), "run"), "checkpoint");
  const Value state = from_json(read_file(run / "checkpoints/000000000008/state.json"));
  CHECK(entry_of(checkpoint, "files_sha256") == Value(sha256(to_json(entry_of(state, "files")))));
  const auto compared = [&] { return shell("casdm compare runs/small", folder.path()); };
  CHECK_MESSAGE(contains(compared().out, "cells.gap"), compared().err);

  const fs::path record = records_in(run).at(0);
  const auto trained_again = [&](const std::string& more) {
    train_small(folder.path(), "", "--overwrite" + more);
    fs::create_directory(run / "evaluation");
    write_file(record, to_json(evaluation(json), 1) + "\n");
  };
  trained_again("");  // the same tensors, though state.json says other times
  CHECK_MESSAGE(contains(compared().out, "cells.gap"), compared().err);
  trained_again(" --set run.seed=9");
  const Outcome other = compared();
  CHECK_MESSAGE(!contains(other.out, "cells.gap"), other.out);
  const std::string said = other.err + other.out;
  CHECK_MESSAGE(contains(said, "of another checkpoint"), said);
}

TEST_CASE("weights of another run or moment are named as such in scores and samples") {
  const TemporaryFolder folder;
  const std::string averages =
      "[ema]\nsnapshot_every_images = 4\nalso = [{name = \"p05\", sigma_rel = 0.05}, "
      "{name = \"p10\", sigma_rel = 0.1}]\n";
  train_small(folder.path(), averages);
  const auto make = [&](const std::string& run, const std::string& more, const std::string& out) {
    const Outcome made =
        shell("casdm ema " + run + " --sigma-rel 0.08 " + more + " --out " + out + ".safetensors", folder.path());
    REQUIRE_MESSAGE(made.status == 0, made.err);
  };
  make("runs/small", "", "own");
  make("runs/small", "--at 4", "early");
  train_small(folder.path(), averages, "--set run.name=other --set run.seed=9");
  make("runs/other", "", "other");
  const auto warnings = [&](const std::string& run, const std::string& weights) {
    const std::string words = run + " --num 8 --json --set evaluate.reference_num=50 --weights " + weights;
    return warnings_of(evaluation(json_of(evaluate(words + ".safetensors", folder.path()))));
  };
  CHECK_FALSE(contains(warnings("runs/small", "own"), "not of this checkpoint"));
  CHECK(contains(warnings("runs/small", "early"),
                 "early.safetensors are not of this checkpoint: after 4 images instead of 8\""));
  CHECK(
      contains(warnings("runs/small", "other"), "not of this checkpoint: from snapshots of \\\"runs/other\\\" that "));

  // Files of a checkpoint, and snapshots, name no run.
  CHECK_FALSE(contains(warnings("runs/small", "runs/small/checkpoints/000000000008/ema"), "not of this checkpoint"));
  CHECK(contains(warnings("runs/small", "runs/other/checkpoints/000000000008/ema"),
                 "ema.safetensors are not of this checkpoint: the file is one of another checkpoint"));
  CHECK_FALSE(contains(warnings("runs/small", "runs/small/ema/000000000008-0.05"), "not of this checkpoint"));
  CHECK(contains(warnings("runs/small", "runs/other/ema/000000000008-0.05"),
                 "0.05.safetensors are not of this checkpoint: a snapshot that "));

  // Wherever the run is, its snapshots tell.
  REQUIRE(shell("cp -r runs/small runs/moved", folder.path()).status == 0);
  CHECK_FALSE(contains(warnings("runs/moved", "own"), "not of this checkpoint"));
  fs::remove_all(folder.path() / "runs/moved/ema");
  CHECK(contains(warnings("runs/moved", "own"), "not of this checkpoint: from snapshots of"));

  const auto sampled = [&](const std::string& weights) {
    return shell("casdm sample runs/small --num 2 --overwrite --out s --weights " + weights, folder.path());
  };
  const Outcome warned = sampled("early.safetensors");
  CHECK_MESSAGE(contains(warned.err, "warning: the weights in early.safetensors are not of this"), warned.err);
  const std::string record = read_file(folder.path() / "s/sampling.json");
  CHECK_MESSAGE(contains(record, "not of this checkpoint: after 4 images instead of 8"), record);
  CHECK_FALSE(contains(sampled("own.safetensors").err, "not of this checkpoint"));
}

TEST_CASE("after a rebuild of a judge's plugin, nearest images and the best checkpoint are looked for again") {
  const TemporaryFolder folder;
  const fs::path library = folder.path() / "judging.so";
  fs::copy_file(CASDM_TEST_PLUGIN_DIR "/judging.so", library);
  write_small_config(folder.path(),
                     "[evaluate]\nevery_images = 8\nnum = 8\nreference_num = 40\nkeep_best = \"cells.gap\"\n"
                     "[[evaluate.judges]]\ntype = \"cells\"\nmetrics = [{ type = \"moments_gap\" }]\n");
  write_file(folder.path() / "pixels.toml", "[evaluate]\nreference_num = 40\n[[evaluate.judges]]\ntype = \"pixels\"\n");
  const auto run = [&](const std::string& words) {
    const Outcome outcome = shell("CASDM_CACHE=cache casdm " + words + " --plugin judging.so", folder.path());
    REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
    return outcome;
  };
  run("train small.toml --set train.total_images=8 --set log.sample_count=0");
  const std::string nearest = "evaluate runs/small --num 8 --config pixels.toml --json --nearest 2 --nearest-by cells";
  const Value found = from_json(run(nearest).out);
  CHECK_FALSE(contains(run(nearest).err, "nearest images"));

  const std::string version = entry_of(entry_of(evaluation(found), "plugins"), "judging").as_string();
  const std::string build = version.substr(version.find(' ') + 1);
  std::string bytes;
  for (std::size_t i = 0; i < build.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(build.substr(i, 2), nullptr, 16));
  }
  std::string content = read_file(library);
  const std::size_t place = content.find(bytes);
  REQUIRE(place != std::string::npos);
  content[place] = static_cast<char>(content[place] ^ 1);
  write_file(library, content);
  CHECK(contains(run(nearest).err, "nearest images"));
  const Outcome resumed = run("train --resume runs/small --set train.total_images=16 --allow-rebuilt");
  CHECK_MESSAGE(contains(resumed.err, "so the search for the best starts again"), resumed.err);
}

TEST_CASE("a second evaluation that is asked for reads the images of the reference again") {
  const TemporaryFolder folder;
  write_images(folder.path() / "images", 100, 1);
  train_on_images(folder.path());
  const std::string words = "runs/small --num 8 --json";
  const Value first = json_of(evaluate(words, folder.path()));
  CHECK(entry_of(entry_of(evaluation(first), "reference"), "identified_by") == Value(64));
  // Every image that neither the identity of the reference nor the fingerprint of the data looks at.
  std::vector<std::string> names;
  for (int i = 0; i < 100; ++i) names.push_back(text(i, ".png"));
  std::sort(names.begin(), names.end());
  std::set<int> seen;
  for (int i = 0; i < 64; ++i) seen.insert(i * 100 / 64);
  for (int i = 0; i < 16; ++i) seen.insert(i * 100 / 16);
  for (int i = 0; i < 100; ++i) {
    if (seen.contains(i)) continue;
    write_png(folder.path() / "images" / names[static_cast<std::size_t>(i)],
              to_image(at::full({3, 16, 16}, 255, at::kByte)));
  }
  const double before = score(evaluation(first), "cells.gap");
  CHECK(score(evaluation(json_of(evaluate(words, folder.path()))), "cells.gap") == before);
  const double again = score(evaluation(json_of(evaluate(words + " --overwrite", folder.path()))), "cells.gap");
  CHECK(again != before);
  CHECK(again == score(evaluation(json_of(evaluate(words + " --overwrite --no-cache", folder.path()))), "cells.gap"));
  // What was read again is what the cache now has.
  CHECK(again == score(evaluation(json_of(evaluate(words + " --batch 4", folder.path()))), "cells.gap"));
}
