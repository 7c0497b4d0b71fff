#include <doctest/doctest.h>

#include <algorithm>
#include <map>

#include "casdm/text.h"
#include "casdm/value.h"
#include "evaluation/evaluate_program.h"
#include "framework/support/checked_tensors.h"
#include "framework/support/files.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

TEST_CASE("runs with other networks, noise and samplers are compared, each sampled as its experiment says") {
  const TemporaryFolder folder;
  train_small(folder.path());
  train_small(folder.path(), "",
              "--set run.name=other --set head.theta.channels=16 --set noise.num_train_timesteps=50 "
              "--set sampler.num_inference_steps=3 --set sampler.spacing=leading");
  for (const char* run : {"runs/small", "runs/other"}) REQUIRE(evaluate(run, folder.path()).status == 0);
  const auto compared = [&] { return shell("casdm compare runs/small runs/other --format csv", folder.path()).out; };
  CHECK_MESSAGE(contains(compared(), ",cells.gap,"), compared());
  REQUIRE(evaluate("runs/other --steps 2", folder.path()).status == 0);
  CHECK_MESSAGE(contains(compared(), ",cells.gap steps=own,"), compared());
}

TEST_CASE("a run is judged against its own data, and the record says what the scores belong to") {
  const TemporaryFolder folder;
  train_small(folder.path());
  const Value json = json_of(evaluate("runs/small --json --set evaluate.reference_num=200", folder.path()));
  const Value& record = evaluation(json);
  CHECK(entry_of(record, "what") == Value("run"));
  CHECK(entry_of(record, "num") == Value(80));
  const Value& run = entry_of(record, "run");
  CHECK(entry_of(run, "seed") == Value(0));
  CHECK(entry_of(run, "steps") == Value(4));
  CHECK(entry_of(entry_of(run, "weights"), "name") == Value("ema"));
  CHECK(entry_of(entry_of(run, "checkpoint"), "images") == Value(8));
  const Value& gap = entry_of(record, "scores").as_array().at(0);
  CHECK(entry_of(gap, "name") == Value("cells.gap"));
  CHECK(entry_of(gap, "num") == Value(80));
  CHECK(entry_of(gap, "reference_num") == Value(200));
  CHECK(entry_of(gap, "lower_is_better") == Value(true));
  CHECK(entry_of(gap, "standard_error").is_null());
  CHECK(entry_of(entry_of(gap, "extractor"), "feature") == Value("quarters"));
  CHECK(entry_of(entry_of(gap, "extractor"), "resize") == Value("none"));
  CHECK(entry_of(entry_of(record, "scores").as_array().at(1), "standard_error") == Value(0.25));
  CHECK(contains(to_json(entry_of(record, "warnings")), "published scores are of 50,000"));
  // They are kept beside the run; a .state file would belong to an incomplete evaluation.
  const std::vector<fs::path> kept = records_in(folder.path() / "runs/small");
  REQUIRE(kept.size() == 1);
  CHECK(kept[0].filename().string().starts_with("000000000008-ema-"));
  CHECK(kept[0].extension() == ".json");
  CHECK(from_json(read_file(kept[0])) == record);
}

TEST_CASE("a run evaluated twice gives the same bytes, for the samples of casdm sample") {
  const TemporaryFolder folder;
  train_small(folder.path());
  const std::string words = "runs/small --set evaluate.reference_num=100";
  REQUIRE(evaluate(words, folder.path()).status == 0);
  const fs::path file = records_in(folder.path() / "runs/small").at(0);
  const std::string first = read_file(file);
  const Outcome again = evaluate(words, folder.path());
  CHECK_MESSAGE(contains(again.err, "already evaluated"), again.err);
  const Outcome anew = evaluate(words + " --overwrite --no-cache --device cpu", folder.path());
  REQUIRE_MESSAGE(anew.status == 0, anew.err);
  CHECK_MESSAGE(contains(anew.err, "device: cpu\n"), anew.err);
  CHECK(read_file(file) == first);
  // One digit of the score was changed.
  std::string altered = first;
  char& digit = altered[altered.find("\"value\":") + 10];
  digit = digit == '1' ? '2' : '1';
  write_file(file, altered);
  const Outcome warned = evaluate(words, folder.path());
  CHECK_MESSAGE(contains(warned.err, "warning: evaluating again"), warned.err);
  CHECK(read_file(file) == first);
  REQUIRE(shell("casdm sample runs/small --num 80 --out s --no-png", folder.path()).status == 0);
  const Value json = json_of(
      evaluate("s --reference small.toml --config small.toml --set evaluate.reference_num=100 --json", folder.path()));
  CHECK(score(evaluation(json), "cells.gap") == score(from_json(first), "cells.gap"));
  // --out stores the same samples.
  REQUIRE(evaluate(words + " --out kept", folder.path()).status == 0);
  CHECK(sha256_of_file(folder.path() / "kept/000079.png").size() == 64);
}

TEST_CASE("the number of samples drawn at once does not change a run's scores") {
  const TemporaryFolder folder;
  train_small(folder.path());
  const std::string words = "runs/small --num 40 --set evaluate.reference_num=50 --json --batch ";
  const double expected = score(evaluation(json_of(evaluate(words + "64", folder.path()))), "cells.gap");
  for (const char* batch : {"1", "7", "40"}) {
    const double value = score(evaluation(json_of(evaluate(words + batch, folder.path()))), "cells.gap");
    CHECK_MESSAGE(value == doctest::Approx(expected).epsilon(1e-10), batch);
  }
}

TEST_CASE("memory does not grow with the number of images") {
  const TemporaryFolder folder;
  // 500 and 8,000 images of 64 px; the larger set is 94 MiB, as floats 375.
  REQUIRE(shell("python3 - <<'END'\n"
                "import zipfile\n"
                "for count in (500, 8000):\n"
                "    with zipfile.ZipFile(f'{count}.npz', 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as z:\n"
                "        with z.open('arr_0.npy', 'w') as f:\n"
                "            h = \"{'descr': '|u1', 'fortran_order': False, 'shape': (%d, 64, 64, 3), }\" % count\n"
                "            h = h.ljust(117) + '\\n'\n"
                "            f.write(b'\\x93NUMPY\\x01\\x00' + len(h).to_bytes(2, 'little') + h.encode())\n"
                "            for i in range(count):\n"
                "                f.write(bytes([i % 251, i % 83, i % 7]) * 64 * 64)\n"
                "END",
                folder.path())
              .status == 0);
  write_file(folder.path() / "judges.toml", kJudges);
  const auto peak = [&](const std::string& set) {
    const Outcome outcome = shell(
        "export CASDM_CACHE=$PWD/cache OMP_NUM_THREADS=1; python3 -c 'import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)' " CASDM_PROGRAM " evaluate " +
            set + " --reference " + set + " --config judges.toml --no-cache" + kPlugin,
        folder.path());
    REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
    return std::stod(outcome.out) / 1024;
  };
  const double few = peak("500.npz"), many = peak("8000.npz");
  MESSAGE("at most " << few << " MiB for 500 images, " << many << " MiB for 8,000");
  CHECK(many - few < 24);
}

TEST_CASE("weights, guidance and steps give one table with a line each") {
  const TemporaryFolder folder;
  train_small(folder.path());
  const std::string words = "runs/small --num 8 --weights ema,raw --steps 2,4 --set evaluate.reference_num=50";
  const Outcome table = evaluate(words + " --floor", folder.path());
  REQUIRE_MESSAGE(table.status == 0, table.err);
  for (const char* part : {"runs/small: ema, 2 steps", "runs/small: ema, 4 steps", "runs/small: raw, 2 steps",
                           "runs/small: raw, 4 steps", "real images (the floor)", "cells.gap", "lower is better"}) {
    CHECK_MESSAGE(contains(table.out, part), part << "\n" << table.out);
  }
  // The floor is stored for reports.
  const std::vector<fs::path> kept = records_in(folder.path() / "runs/small");
  REQUIRE(kept.size() == 5);
  CHECK(kept[4].filename().string().starts_with("floor-"));
  CHECK(entry_of(from_json(read_file(kept[4])), "what") == Value("floor"));
  REQUIRE(evaluate("runs/small --num 8 --steps 2 --set evaluate.reference_num=50 --floor", folder.path()).status == 0);
  CHECK(records_in(folder.path() / "runs/small") == kept);
  const Outcome report = shell("casdm report runs/small", folder.path());
  REQUIRE_MESSAGE(report.status == 0, report.err);
  CHECK(contains(read_file(folder.path() / "runs/small/report.html"), "Real images against real ones: the floor"));
  const Outcome all = evaluate("runs/small --num 8 --steps 2 --floor", folder.path());
  CHECK_MESSAGE(contains(all.out, ", floor "), all.out);
  // A score of one set alone needs no reference, but as a floor that of the reference's own images.
  const std::string alone =
      "runs/small --num 8 --steps 2 --set evaluate.reference_num=50 --floor --json --set "
      "'evaluate.judges=[{type=\"pixels\",metrics=[{type=\"inception_score\"},{type=\"kernel_distance\"}]}]'";
  const Outcome computed = evaluate(alone, folder.path()), cached = evaluate(alone, folder.path());
  CHECK_MESSAGE(cached.status == 0, cached.err);
  CHECK(cached.out == computed.out);
}

TEST_CASE("a run is evaluated again if a judge has another name than in the record") {
  const TemporaryFolder folder;
  train_small(folder.path());
  const std::string words = "runs/small --num 8 --steps 2 --set evaluate.reference_num=50";
  REQUIRE(evaluate(words, folder.path()).status == 0);
  CHECK(contains(evaluate(words, folder.path()).err, "already evaluated"));
  const Outcome renamed = evaluate(words + " --set evaluate.judges[0].name=mine", folder.path());
  CHECK_MESSAGE(contains(renamed.out, "mine.gap"), renamed.out << renamed.err);
  CHECK_FALSE(contains(renamed.err, "already evaluated"));
}

TEST_CASE("an interrupted evaluation is continued and ends with the same bytes") {
  const TemporaryFolder folder;
  train_small(folder.path());
  const std::string words = "runs/small --num 320 --batch 16 --set evaluate.reference_num=50 --steps 30";
  const Outcome stopped = shell("CASDM_CACHE=cache casdm evaluate --progress json " + words + kPlugin +
                                    " & p=$!\nwhile ! grep -q '\"judging ema\",\"done\":[1-9][0-9][0-9]' .stderr && "
                                    "kill -0 $p; do sleep 0.05; done\nkill -TERM $p; wait $p",
                                folder.path());
  if (stopped.status == 0) {
    MESSAGE("not tested: the evaluation was faster than the signal");
    return;
  }
  CHECK(stopped.status == 1);
  CHECK_MESSAGE(contains(stopped.err, "The same command continues from there"), stopped.err);
  const fs::path evaluation = folder.path() / "runs/small/evaluation";
  const auto states = [&] {
    return std::count_if(fs::directory_iterator(evaluation), fs::directory_iterator(),
                         [](const fs::directory_entry& entry) { return entry.path().extension() == ".state"; });
  };
  REQUIRE(states() == 1);
  // A folder for the images is filled even if all of them are judged already.
  for (const auto& entry : fs::directory_iterator(evaluation)) {
    if (entry.path().extension() != ".state") continue;
    TensorFile state = read_checked_tensors(entry.path());
    Value record = from_json(state.metadata.at("casdm_evaluation"));
    record.set("images", 320);
    state.metadata["casdm_evaluation"] = to_json(record);
    write_checked_tensors(folder.path() / "whole.state", state.tensors, state.metadata);
  }
  const Outcome drawn = evaluate(words + " --state whole.state --out drawn", folder.path());
  CHECK_MESSAGE(drawn.status == 0, drawn.err);
  CHECK(fs::exists(folder.path() / "drawn/000319.png"));
  CHECK(contains(read_file(folder.path() / "drawn/sampling.json"), "\"complete\": true"));
  for (const fs::path& file : records_in(folder.path() / "runs/small")) {
    if (file.extension() == ".json") fs::remove(file);
  }
  const Outcome unsaved =
      shell("export CASDM_CACHE=$PWD/cache; ulimit -f 1; casdm evaluate " + words + kPlugin, folder.path());
  CHECK_MESSAGE(contains(unsaved.err, "the scores above could not be saved"), unsaved.err);
  CHECK(states() == 1);
  const Outcome resumed = evaluate(words, folder.path());
  REQUIRE_MESSAGE(resumed.status == 0, resumed.err);
  CHECK(states() == 0);
  const std::vector<fs::path> kept = records_in(folder.path() / "runs/small");
  REQUIRE(kept.size() == 1);
  const std::string bytes = read_file(kept[0]);
  REQUIRE(evaluate(words + " --overwrite", folder.path()).status == 0);
  CHECK(read_file(kept[0]) == bytes);
}

TEST_CASE("folders are judged against folders, and the size of their images must be given") {
  const TemporaryFolder folder;
  train_small(folder.path());
  REQUIRE(
      shell("casdm sample runs/small --num 12 --out s && mkdir images && cp s/0*.png images", folder.path()).status ==
      0);
  const Outcome unsaid = evaluate("images --reference images --config small.toml", folder.path());
  CHECK(unsaid.status == 2);
  CHECK_MESSAGE(contains(unsaid.err, "--size"), unsaid.err);
  const Value json = json_of(evaluate("images --reference images --size 16 --config small.toml --json", folder.path()));
  CHECK(score(evaluation(json), "cells.gap") == 0);
  CHECK(entry_of(evaluation(json), "what") == Value("images"));
  // A zip and an NPZ of the same images.
  REQUIRE(shell("python3 -m zipfile -c images.zip images/", folder.path()).status == 0);
  const Value zip = json_of(evaluate("images.zip --reference s/samples.npz --config small.toml --json", folder.path()));
  CHECK(score(evaluation(zip), "cells.gap") == 0);
  const Outcome larger = evaluate("s/samples.npz --reference images --size 32 --config small.toml", folder.path());
  CHECK(larger.status == 2);
  CHECK_MESSAGE(contains(larger.err, "--size 32 does not apply to s/samples.npz, whose images have 16 px"), larger.err);
  const Outcome both = evaluate("s/samples.npz --reference s/samples.npz --size 32 --config small.toml", folder.path());
  CHECK_MESSAGE(contains(both.err, "--size 32 does not apply to s/samples.npz"), both.err);
  CHECK(evaluate("s/samples.npz --reference images --size 16 --config small.toml", folder.path()).status == 0);
  write_file(folder.path() / "x.npy", "");
  const Outcome unread = evaluate("images --reference x.npy --size 16 --config small.toml", folder.path());
  CHECK_MESSAGE(contains(unread.err, "(there is one for .gz, .npz, .zip, a folder)"), unread.err);
  const Outcome few = evaluate("images --reference images --size 16 --num 13 --config small.toml", folder.path());
  CHECK(few.status == 2);
  CHECK_MESSAGE(contains(few.err, "--num = 13: images holds 12 images"), few.err);
  const Outcome one = evaluate("images --reference images --size 16 --num 1 --config small.toml", folder.path());
  CHECK(one.status == 2);
  CHECK_MESSAGE(contains(one.err, "needs at least 2 images"), one.err);
}

TEST_CASE("the nearest images of the data are found once, by a judge or any extractor, and are in the report") {
  const TemporaryFolder folder;
  train_small(folder.path());
  const std::string words = "runs/small --num 8 --nearest 2 --set evaluate.reference_num=50 ";
  const Outcome table = evaluate(words, folder.path());
  REQUIRE_MESSAGE(table.status == 0, table.err);
  CHECK_MESSAGE(contains(table.out, "Euclidean distance of the feature \"quarters\" of cells"), table.out);
  const std::vector<fs::path> kept = records_in(folder.path() / "runs/small");
  REQUIRE(kept.size() == 2);
  CHECK(kept[1].filename().string().starts_with("nearest-"));
  const std::string bytes = read_file(kept[1]);
  const Value record = from_json(bytes);
  CHECK(entry_of(record, "images").as_array().size() == 2);
  CHECK(entry_of(record, "checkpoint_images") == Value(8));
  CHECK(entry_of(record, "weights_file") == Value("ema.safetensors"));
  CHECK(entry_of(record, "weights_sha256") ==
        Value(sha256_of_file(folder.path() / "runs/small/checkpoints/000000000008/ema.safetensors")));
  const Outcome again = evaluate(words, folder.path());
  CHECK_FALSE(contains(again.err, "nearest images"));  // no progress: it was there
  CHECK(again.out == table.out);
  REQUIRE(evaluate(words + "--overwrite", folder.path()).status == 0);
  CHECK(read_file(kept[1]) == bytes);
  // Finding them does not change what is judged.
  REQUIRE(evaluate("runs/small --num 8 --set evaluate.reference_num=50 --overwrite", folder.path()).status == 0);
  CHECK(records_in(folder.path() / "runs/small") == kept);
  REQUIRE(shell("casdm report runs/small", folder.path()).status == 0);
  const std::string page = read_file(folder.path() / "runs/small/report.html");
  CHECK(contains(page, "<h2>Nearest images of the data</h2>"));
  CHECK(contains(page, "by the Euclidean distance of the feature quarters of cells"));

  // Images that are in the reference: at distance 0, with their index there.
  REQUIRE(shell("casdm sample runs/small --num 12 --out s", folder.path()).status == 0);
  const Value found = json_of(
      evaluate("s --reference s --config small.toml --num 3 --nearest 3 --nearest-by pixels --json", folder.path()));
  const Value& by_pixels = entry_of(found, "nearest").as_array().at(0);
  CHECK(entry_of(by_pixels, "judge") == Value("pixels"));
  for (const Value& image : entry_of(by_pixels, "images").as_array()) {
    CHECK(entry_of(entry_of(image, "nearest").as_array().at(0), "distance") == Value(0.0));
    CHECK(entry_of(entry_of(image, "nearest").as_array().at(0), "index") == entry_of(image, "index"));
  }

  const auto refused = [&](const std::string& more, const std::string& part) {
    const Outcome outcome = evaluate("runs/small --num 8 " + more, folder.path());
    CHECK_MESSAGE(outcome.status == 2, outcome.err);
    CHECK_MESSAGE(contains(outcome.err, part), outcome.err);
  };
  refused("--nearest-by pixels", "--nearest-by does not apply here");
  refused("--nearest 2 --nearest-by pixel", "did you mean 'pixels'");
  refused("--nearest 33", "32");
  REQUIRE(evaluate("--reference small.toml --config small.toml --write-reference r.npz --set evaluate.reference_num=60",
                   folder.path())
              .status == 0);
  refused("--nearest 2 --reference r.npz", "a file of statistics");
}

TEST_CASE("a reference is written once and used often, and never replaces an existing file") {
  const TemporaryFolder folder;
  train_small(folder.path());
  const std::string judges = " --config small.toml --set evaluate.reference_num=60";
  const Outcome written = evaluate("--reference small.toml --write-reference r.safetensors" + judges, folder.path());
  REQUIRE_MESSAGE(written.status == 0, written.err);
  CHECK(written.out == "r.safetensors\n");
  const Outcome again = evaluate("--reference small.toml --write-reference r.safetensors" + judges, folder.path());
  CHECK(again.status == 2);
  CHECK_MESSAGE(contains(again.err, "exists"), again.err);
  REQUIRE(evaluate("--reference small.toml --write-reference r.npz" + judges, folder.path()).status == 0);
  for (const char* file : {"again.safetensors", "again.npz"}) {
    // A file of statistics does not contain enough to be written as another file.
    const Outcome twice = evaluate(text("s --reference r.npz --write-reference ", file, judges), folder.path());
    CHECK(twice.status == 2);
    CHECK_FALSE(fs::exists(folder.path() / file));
  }
  // --overwrite replaces files that it has written itself, and no others.
  const std::string over = "--overwrite --reference small.toml" + judges + " --write-reference ";
  for (const char* file : {"mine.safetensors", "mine.npz"}) {
    write_file(folder.path() / file, "my thesis");
    const Outcome refused = evaluate(over + file, folder.path());
    CHECK(refused.status == 2);
    CHECK_MESSAGE(contains(refused.err, "was not written by `casdm evaluate --write-reference`"), refused.err);
    CHECK(read_file(folder.path() / file) == "my thesis");
  }
  write_file(folder.path() / "r.npz.part", "mine");
  for (const char* file : {"r.safetensors", "r.npz"}) CHECK(evaluate(over + file, folder.path()).status == 0);
  CHECK(read_file(folder.path() / "r.npz.part") == "mine");
  const std::string words = "runs/small --num 16 --json";
  const Value data = json_of(evaluate(words + judges, folder.path()));
  const Value ours = json_of(evaluate(words + " --reference r.safetensors", folder.path()));
  const Value theirs = json_of(evaluate(words + " --reference r.npz", folder.path()));
  const double expected = score(evaluation(data), "cells.gap");
  CHECK(score(evaluation(ours), "cells.gap") == expected);
  CHECK(score(evaluation(theirs), "cells.gap") == doctest::Approx(expected).epsilon(1e-10));
  CHECK(entry_of(entry_of(evaluation(theirs), "reference"), "kind") == Value("statistics"));
  CHECK(entry_of(entry_of(evaluation(theirs), "reference"), "num") == Value(60));
}

TEST_CASE("a reference file keeps its number of images, and a message says that reference_num has no effect") {
  const TemporaryFolder folder;
  train_small(folder.path());
  REQUIRE(evaluate("--reference small.toml --config small.toml --set evaluate.reference_num=50 --write-reference "
                   "r.safetensors",
                   folder.path())
              .status == 0);
  const Outcome outcome =
      evaluate("runs/small --num 8 --reference r.safetensors --set evaluate.reference_num=7", folder.path());
  CHECK_MESSAGE(outcome.status == 0, outcome.err);
  CHECK_MESSAGE(contains(outcome.out, "evaluate.reference_num = 7 is ignored: the reference is a file"), outcome.out);
  const Value json = json_of(
      evaluate("runs/small --num 8 --json --reference r.safetensors --set evaluate.reference_num=7", folder.path()));
  CHECK(entry_of(entry_of(evaluation(json), "scores").as_array().at(0), "reference_num") == Value(50));
}

TEST_CASE("the measures of every data set are read from their file, and missing weights are named") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  int count = 0;
  for (const auto& entry : fs::directory_iterator(source_dir() / "configs/measures")) {
    ++count;
    const Outcome outcome = evaluate("--reference small.toml --write-reference r.safetensors --config '" +
                                         entry.path().string() + "' --set evaluate.reference=",
                                     folder.path());
    CHECK_MESSAGE(outcome.status == 1, entry.path() << "\n" << outcome.err);
    CHECK_MESSAGE(contains(outcome.err, "inception: there is no weights file \"inception.safetensors\""), outcome.err);
  }
  CHECK(count == 4);
}

TEST_CASE("a score that is not a number is reported as such") {
  const TemporaryFolder folder;
  train_small(folder.path());
  const std::string run = "runs/small --num 8 --set evaluate.reference_num=20 ";
  const auto judged_by = [](const std::string& metric) {
    return "--set 'evaluate.judges=[{type=\"pixels\",metrics=[" + metric + "]}]'";
  };
  const Outcome outcome = evaluate(run + judged_by("{type=\"mmd\",bandwidth=1e-300}"), folder.path());
  CHECK_MESSAGE(contains(outcome.out, "is not a valid score: the options of the metric do not suit"),
                outcome.out << outcome.err);
  const Outcome none = evaluate(run + judged_by("{type=\"inception_score\",input=\"probabilities\"}"), folder.path());
  CHECK(none.status == 2);
  CHECK_MESSAGE(contains(none.err, "the feature holds none"), none.err);
}

TEST_CASE("a full disk while the record is written loses no score and leaves no partial file") {
  const TemporaryFolder folder;
  train_small(folder.path());
  fs::create_directories(folder.path() / "runs/small/evaluation");
  // The record has a few kilobytes; anything written before it (nothing here) would fit.
  const Outcome full = shell(
      "export CASDM_CACHE=/proc/none; ulimit -f 1; casdm evaluate runs/small --num 8 "
      "--set evaluate.reference_num=20" +
          kPlugin,
      folder.path());
  CHECK(full.status == 1);
  CHECK_MESSAGE(contains(full.out, "cells.gap"), full.out);
  CHECK_MESSAGE(contains(full.err, "the scores above could not be saved"), full.err);
  CHECK(fs::is_empty(folder.path() / "runs/small/evaluation"));
}

TEST_CASE("without [evaluate] the recommended judge and metrics are used, or a message says how to get the weights") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  REQUIRE(shell("casdm train small.toml --set train.total_images=8 --set log.sample_count=0", folder.path()).status ==
          0);
  const Outcome missing = shell(
      "export CASDM_CACHE=$PWD/cache; unset CASDM_WEIGHTS_PATH; casdm evaluate runs/small --num 8 "
      "--set evaluate.reference_num=20",
      folder.path());
  CHECK(missing.status == 1);
  CHECK_MESSAGE(contains(missing.err, "tools/setup.sh"), missing.err);
}
