#include <doctest/doctest.h>

#include "casdm/text.h"
#include "casdm/value.h"
#include "evaluation/evaluate_program.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

TEST_CASE("an impossible floor is refused before the hours of judging the run") {
  const TemporaryFolder folder;
  train_small(folder.path());
  REQUIRE(evaluate("--reference small.toml --config small.toml --set evaluate.reference_num=50 --write-reference "
                   "r.safetensors",
                   folder.path())
              .status == 0);
  REQUIRE(shell("casdm sample runs/small --num 3 --out s && mkdir few one && cp s/0*.png few && cp s/000000.png one",
                folder.path())
              .status == 0);
  for (const auto& [words, expected] :
       {std::pair("--floor --reference r.safetensors", "--floor takes two halves of the reference's images"),
        std::pair("--held-out nowhere.zip --set evaluate.reference_num=50", "nowhere.zip"),
        std::pair("--floor --reference few", "--floor, half of the reference: evaluate: cells.gap needs at least 2"),
        std::pair("--held-out one --set evaluate.reference_num=50", "--held-out one: evaluate: cells.gap needs"),
        std::pair("--held-out small.toml --set evaluate.reference_num=50", "these are the images of the reference")}) {
    const Outcome outcome = evaluate(std::string("runs/small --num 8 ") + words, folder.path());
    CHECK_MESSAGE(outcome.status == 2, outcome.err);
    CHECK_MESSAGE(contains(outcome.err, expected), outcome.err);
    CHECK_MESSAGE(!contains(outcome.err, "judging ema"), outcome.err);
    CHECK_FALSE(fs::exists(folder.path() / "runs/small/evaluation"));
  }
}

TEST_CASE("bad input is refused with one message, and nothing is left behind") {
  const TemporaryFolder folder;
  train_small(folder.path());
  const auto refused = [&](const std::string& words, int status, const std::string& part) {
    const Outcome outcome = evaluate(words, folder.path());
    CHECK_MESSAGE(outcome.status == status, words << "\n" << outcome.err);
    CHECK_MESSAGE(contains(outcome.err, part), words << "\n" << outcome.err);
    CHECK(outcome.out.empty());
  };
  const std::string run = "runs/small --num 4 --set evaluate.reference_num=20 ";
  refused("", 2, "give a run or images");
  refused("runs/smal", 2, "does not exist");
  refused("runs/small/checkpoints", 2, "is the folder of a run's checkpoints; give the run, ");
  write_file(folder.path() / "x.toml", "[plugins]\npaths = [\"mine\"]\n[data]\ntype = \"unheard_of\"\n");
  refused("--reference x.toml --config small.toml --write-reference y.npz", 2, "/mine (");
  refused("x.toml --reference small.toml --config small.toml", 2, "/mine (");
  refused(run + "--set evaluate.reference=x.toml", 2, "/mine (");
  refused(run + "--held-out x.toml", 2, "/mine (");
  refused("s.npz --reference small.toml --config small.toml", 2, "does not exist");
  refused(run + "--reference " CASDM_EVALUATION_FILES "/evil.pkl", 1, "posix.system");
  refused(run + "--reference " CASDM_EVALUATION_FILES "/numpy1_protocol4.pkl", 2, "fid.mu of 3 features");
  refused(run + "--reference " CASDM_EVALUATION_FILES "/adm.npz", 2, "4 px");
  refused(run + "--weights slow", 2, "there are no weights \"slow\"");
  refused(run + "--weights ema,", 2, "a value is empty");
  refused(run + "--steps 4,2,4", 2, "--steps \"4,2,4\": a value is given twice");
  refused(run + "--guidance 1,1.0", 2, "--guidance \"1,1.0\": a value is given twice");
  refused(run + "--set evaluate.judges[0].fault=no_weights", 1, "no_such_judge.safetensors");
  refused(run + "--set evaluate.judges[0].fault=not_a_number", 1, "is not finite");
  refused(run + "--set evaluate.judges[0].fault=remembers", 1, "judging/cells: it changed its buffers");
  refused(run + "--set evaluate.judges[0].fault=other_name", 1, "returned \"other\" where \"quarters\"");
  refused(run + "--set evaluate.judges[0].feature=pool", 2, "it has quarters, map");
  refused(run + "--set evaluate.judges[0].feature=map", 2, "without places");
  refused(run + "--state runs/small/checkpoints/x", 2, "belongs to the run");
  refused(run + "--out drawn --state drawn/samples.npz", 2, "is in the folder of the samples, --out \"drawn\"");
  refused(run + "--reference samples.txt", 2, "does not exist");
  refused(run + "--reference runs/small", 2, "is a run, which holds only grids");
  refused(run + "--size 16", 2, "--size does not apply here");
  refused(run +
              "--set data.image_size=32 --set head.theta.attention_resolutions=[16] --set "
              "head.phi.attention_resolutions=[16]",
          2, "samples of 32 px and 3 channels cannot be compared with images of 16 px");
  refused(run + "--set evaluate.num=8", 2, "evaluate.num");
  refused(run + "--seed 1 --set evaluate.seed=2", 2, "evaluate.seed");
  refused(run + "--reference small.toml --set evaluate.reference=small.toml", 2, "evaluate.reference");
  refused(run + "--held-out small.toml --reference small.toml", 2, "these are the images of the reference");
  const std::string images = "small.toml --config small.toml --reference small.toml ";
  for (const char* option : {"--weights raw", "--guidance 2", "--steps 3", "--sampler ddim", "--eta 0", "--seed 1",
                             "--batch 2", "--label 0", "--allow-rebuilt", "--out o", "--set evaluate.num=5"}) {
    refused(images + option, 2, "does not apply here: no run is sampled");
  }
  const std::string keep = "--reference small.toml --config small.toml --write-reference ";
  refused(keep + "r.npz --num 4", 2, "--num does not apply here");
  refused(keep + "r.npz --state s", 2, "--state does not apply here");
  refused(keep + "r.txt", 2, "ends in .safetensors or .npz");
  refused(keep + "none/r.npz", 2, "does not exist");
  CHECK_FALSE(fs::exists(folder.path() / "runs/small/evaluation"));
}

TEST_CASE("a mistake in the last value of a list is found before the first one is judged") {
  const TemporaryFolder folder;
  train_small(folder.path());
  const std::string run = "runs/small --num 4 --set evaluate.reference_num=20 ";
  for (const auto& [words, expected] :
       {std::pair("--weights ema,slow", "there are no weights \"slow\""),
        std::pair("--steps 2,5000", "expected at most"), std::pair("--guidance 1,2", "nothing to guide away from")}) {
    const Outcome outcome = evaluate(run + words, folder.path());
    CHECK_MESSAGE(outcome.status == 2, outcome.err);
    CHECK_MESSAGE(contains(outcome.err, expected), outcome.err);
    CHECK_FALSE(fs::exists(folder.path() / "runs/small/evaluation"));
  }
}

TEST_CASE("images that are the reference, and a grid among the images, are reported") {
  const TemporaryFolder folder;
  train_small(folder.path());
  REQUIRE(
      shell("casdm sample runs/small --num 12 --out s && mkdir images && cp s/0*.png images && cp -r images copy && "
            "casdm sample runs/small --num 12 --seed 1 --out t",
            folder.path())
          .status == 0);
  const std::string words = "images --size 16 --config small.toml --reference ";
  for (const char* same : {"images", "copy", "s/samples.npz"}) {
    const Outcome itself = evaluate(words + same, folder.path());
    CHECK_MESSAGE(contains(itself.out, "these are the images of the reference"), itself.out << itself.err);
  }
  const Outcome held_out = evaluate("t --config small.toml --reference images --held-out copy", folder.path());
  CHECK(held_out.status == 2);
  CHECK_MESSAGE(contains(held_out.err, "--held-out copy: these are the images of the reference"), held_out.err);
  const Outcome other = evaluate(words + "t/samples.npz", folder.path());
  CHECK_MESSAGE(other.status == 0, other.err);
  CHECK_MESSAGE(!contains(other.out, "these are the images"), other.out);
  fs::copy(folder.path() / "s/grid.png", folder.path() / "images");
  const Outcome grid = evaluate(words + "s/samples.npz", folder.path());
  CHECK(grid.status == 2);
  CHECK_MESSAGE(contains(grid.err, "images/grid.png is a grid of samples that casdm drew"), grid.err);
  fs::copy(folder.path() / "images/000000.png", folder.path() / "s/cat.png");
  const Outcome mixed = evaluate("s --config small.toml --reference s/samples.npz", folder.path());
  CHECK(mixed.status == 2);
  CHECK_MESSAGE(contains(mixed.err, "s holds a sampling and other images, such as \"cat.png\""), mixed.err);
  // Another sampling's archive in the place of its own.
  fs::copy_file(folder.path() / "s/samples.npz", folder.path() / "t/samples.npz", fs::copy_options::overwrite_existing);
  const Outcome replaced = evaluate("t --config small.toml --reference images --size 16", folder.path());
  CHECK(replaced.status == 1);
  CHECK_MESSAGE(contains(replaced.err, "t/samples.npz is not the file that t/sampling.json records"), replaced.err);
  fs::remove(folder.path() / "t/samples.npz");
  const Outcome missing = evaluate("t --config small.toml --reference images --size 16", folder.path());
  CHECK(missing.status == 2);
  CHECK_MESSAGE(contains(missing.err, "t/samples.npz is missing"), missing.err);
  for (const char* foreign : {"{}", "no JSON", "{\"format\": \"mine\"}"}) {
    write_file(folder.path() / "t/sampling.json", foreign);
    const Outcome outcome = evaluate("t --config small.toml --reference images --size 16", folder.path());
    CHECK_MESSAGE((outcome.status == 1 || outcome.status == 2), outcome.err);
    CHECK_MESSAGE(contains(outcome.err, "evaluate: t/sampling.json"), outcome.err);
  }
}
