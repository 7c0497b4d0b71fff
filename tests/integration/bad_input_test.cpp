#include <doctest/doctest.h>

#include <csignal>

#include "casdm/text.h"
#include "framework/support/files.h"
#include "framework/support/memory.h"
#include "integration/program.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

/// Trains the small experiment with these arguments and expects a refusal before anything is written.
void refuses(const std::string& words, int status, const std::vector<std::string>& expected) {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const Outcome outcome = shell("casdm train small.toml " + words, folder.path());
  CHECK_MESSAGE(outcome.status == status, words << "\n" << outcome.err);
  for (const std::string& part : expected)
    CHECK_MESSAGE(outcome.err.find(part) != std::string::npos, words << "\n" << outcome.err);
  CHECK_MESSAGE(!fs::exists(folder.path() / "runs/small"), words);
}

}  // namespace

TEST_CASE("wrong options are refused with key, expectation and the given value") {
  refuses("--set train.batchsize=8", 2, {"train.batchsize", "batch_size"});
  refuses("--set train.batch_size='\"many\"'", 2, {"train.batch_size", "many"});
  refuses("--set train.batch_size=0", 2, {"train.batch_size", "0"});
  refuses("--set noise.type=linaer", 2, {"linaer", "linear"});
  refuses("--set head.theta.channels=10", 2, {"channels", "10"});
  refuses("--set head.theta.attention_resolutions=[5]", 2, {"attention_resolutions", "5"});
  refuses("--set data.image_size=15", 2, {"15"});
  refuses(
      "--set metrics.0.type=ssim --set data.image_size=8 --set head.theta.attention_resolutions=[4] "
      "--set head.phi.attention_resolutions=[4]",
      2, {"needs images of at least"});
  refuses("--set sampler.num_inference_steps=101", 2, {"101", "100"});
  refuses("--set sampler.num_inference_steps=0", 2, {"sampler.num_inference_steps", "in 1..1000000", "0"});
  refuses("--set train.accumulate=3", 2, {"accumulate"});
  refuses("--set 'noise={type=\"linear\",beta_end=1.0}'", 2,
          {"noise", "nothing is left of the image after timestep 930 of 0..999: make the betas smaller"});
  refuses("--set 'sampler={type=\"euler\",rho=1e-12}'", 2, {"sampler", "rho = 1e-12 is too small"});
}

TEST_CASE(
    "an option that a choice elsewhere leaves without effect is refused, or named where only a component knows it") {
  const std::string network =
      "theta={type=\"unet\",channels=8,channel_mult=[1,2],num_res_blocks=1,attention_resolutions=[8],groups=4}";
  const std::string heun = " --set 'sampler={type=\"heun\",num_inference_steps=2}'";
  const std::string rho = "--set 'noise={type=\"edm\",rho=5}'" + heun;
  const auto head = [&](const std::string& options) { return " --set 'head={" + options + "," + network + "}'"; };
  refuses(rho + head("type=\"edm\""), 2, {"noise.rho: it has no effect with head.type = \"head_diffusion/edm\""});
  refuses(rho + head("type=\"consistency\""), 2, {"noise.rho: it has no effect with head.type = "});
  refuses(rho + head("type=\"single\""), 2, {"noise.rho: it has no effect with head.variance = \"fixed\""});
  refuses(rho + head("type=\"dual\",mu_weight=\"inv_c1sq\""), 2,
          {"noise.rho: it has no effect with head.mu_weight = \"inv_c1sq\""});
  refuses("--set head.mu_weight=inv_c1sq --set head.mu_space=ddim", 2,
          {"head.mu_space: it has no effect with mu_weight = \"inv_c1sq\""});
  refuses("--set head.train_mode=frozen_theta --set head.detach_input=false --set head.weights.eps=2", 2,
          {"head.detach_input: it has no effect with train_mode = \"frozen_theta\"",
           "head.weights.eps: it has no effect with head.train_mode = \"frozen_theta\""});
  refuses("--set 'timesteps={type=\"uniform\",spread=\"stratified\"}' --set train.batch_size=1", 2,
          {"timesteps.spread: it has no effect with train.batch_size = 1"});
  refuses("--set 'augmentation={type=\"edm\",hue_max=0.5,brightness_std=0.5,scale=0,scale_std=0.1}'", 2,
          {"augmentation.hue_max: it has no effect with hue = 0", "augmentation.brightness_std: it has no effect",
           "augmentation.scale_std: it has no effect with scale = 0"});

  const TemporaryFolder folder;
  write_small_config(folder.path());
  const auto said = [&](const std::string& words) {
    const Outcome outcome = shell("casdm train small.toml --dry-run --no-cost " + words, folder.path());
    CHECK_MESSAGE(outcome.status == 0, outcome.err);
    return outcome.err;
  };
  for (const std::string& used : {rho, rho + head("type=\"single\",variance=\"learned_range\"")}) {
    CHECK_MESSAGE(!contains(said(used), "noise.rho"), used);
  }
  const std::string stride =
      "--set 'sampler={type=\"ddim\",spacing=\"trailing\",previous=\"stride\",num_inference_steps=3}'";
  const std::string nothing = "previous = \"stride\" does nothing: this noise schedule has no whole timesteps";
  CHECK(contains(said("--set 'noise={type=\"flow\",t_max=0.999}' " + stride), nothing));
  CHECK_FALSE(contains(said(stride), nothing));
  const std::string first = "--set 'sampler={type=\"unipc\",order=1,variant=\"bh1\"";
  CHECK(contains(said(first + ",corrector=false}'"), "variant = \"bh1\" does nothing with order = 1"));
  CHECK_FALSE(contains(said(first + "}'"), "does nothing"));
  const auto seeded = [](const std::string& extractor) {
    return "--set 'metrics=[{type=\"feature_distance\",seed=3,extractor={type=\"" + extractor + "\"}}]'";
  };
  CHECK(contains(said(seeded("pixels")), "seed = 3 does nothing: feature_extractors/pixels draws no weights"));
  CHECK_FALSE(contains(said(seeded("random_patches")), "does nothing"));
  const std::string table = "--set optimizer.theta.learning_rate=1e-3";
  const std::string idle = "nothing in [optimizer.theta] has an effect: the head does not train module theta";
  CHECK(contains(said(table + " --set head.train_mode=frozen_theta"), idle));
  CHECK_FALSE(contains(said(table), idle));
}

TEST_CASE("gigantic numbers are refused immediately, and a network that exceeds memory before it is created") {
  refuses("--set head.theta.num_res_blocks=1000000000000", 2, {"num_res_blocks", "in 1..1000"});
  refuses("--set head.theta.channels=1000000000000", 2, {"channels", "in 1..65536"});
  refuses("--set head.theta.channels=65536", 2, {"head.theta", "GiB of memory are free; make the network smaller"});
  refuses("--set 'noise={type=\"edm\"}' --set 'sampler={type=\"heun\",num_inference_steps=1000000000000}'", 2,
          {"num_inference_steps", "in 1..1000000"});
  refuses("--set 'metrics=[{type=\"resized\",size=1000000000,metric={type=\"l1\"}}]'", 2, {"size", "in 1..4096"});
}

TEST_CASE("a batch for which there is no memory is refused with the option that reduces it, before anything is made") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const std::string batch = text(std::min<std::uint64_t>(1 << 20, free_memory() / (128 * 128 * 3)));
  const Outcome training =
      shell("casdm train small.toml --set data.image_size=128 --set train.batch_size=" + batch, folder.path());
  CHECK(training.status == 1);
  CHECK_MESSAGE(contains(training.err, "out of memory: the images of a batch need at least "), training.err);
  CHECK_MESSAGE(contains(training.err, text("a smaller train.batch_size (", batch, ")")), training.err);
  CHECK_FALSE(fs::exists(folder.path() / "runs"));

  REQUIRE(shell("casdm train small.toml --set train.total_images=8", folder.path()).status == 0);
  for (const std::string command : {"sample runs/small --out s", "evaluate runs/small"}) {
    const Outcome drawing = shell("ulimit -v 3500000; casdm " + command + " --num 1048576 --batch 1048576" +
                                      (command[0] == 'e' ? " --set 'evaluate.judges=[{type=\"pixels\"}]'" : ""),
                                  folder.path());
    CHECK(drawing.status == 1);
    CHECK_MESSAGE(contains(drawing.err, "out of memory"), drawing.err);
    CHECK_MESSAGE(contains(drawing.err, ". A smaller --batch than 1048576 needs less"), drawing.err);
  }
  const Outcome grid = shell(
      "ulimit -v 3500000; casdm train small.toml --set run.name=grid --set data.image_size=64 --set "
      "head.theta.attention_resolutions=[32] --set head.phi.attention_resolutions=[32] --set "
      "train.total_images=4 --set log.sample_count=4096",
      folder.path());
  CHECK(grid.status == 1);
  CHECK_MESSAGE(contains(grid.err, "the samples at 4 images could not be drawn: out of memory"), grid.err);
  CHECK_MESSAGE(contains(grid.err, "A smaller log.sample_count than 4096 needs less"), grid.err);
  CHECK_FALSE(contains(grid.err, "train.batch_size"));
  CHECK(fs::exists(folder.path() / "runs/grid/checkpoints/000000000004"));
}

TEST_CASE("if an augmentation breaks numbers, the message names it with its location and the step") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const Outcome outcome =
      shell("casdm train small.toml --set 'augmentation={type=\"edm\",p=1.0,brightness=1.0,brightness_std=3e38}'",
            folder.path());
  CHECK(outcome.status == 1);
  for (const char* part : {"step 1", "augmentation", "edm", "the augmented images are not finite"})
    CHECK_MESSAGE(outcome.err.find(part) != std::string::npos, outcome.err);
}

TEST_CASE("a training reports once that predictions leave the range of images") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  // At high noise, x0* of an untrained network is far out of range.
  const Outcome outcome = shell(
      "casdm train small.toml --set 'head={type=\"single\", theta={type=\"unet\", channels=8, channel_mult=[1, 2], "
      "num_res_blocks=1, attention_resolutions=[8], groups=4}}'",
      folder.path());
  const std::string words = "predictions outside [-1, 1]";
  REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  const std::size_t first = outcome.err.find(words);
  REQUIRE_MESSAGE(first != std::string::npos, outcome.err);
  CHECK_MESSAGE(outcome.err.find(words, first + 1) == std::string::npos, outcome.err);
}

TEST_CASE("data that cannot be read are named") {
  refuses("--set 'data={type=\"folder\", path=\"nowhere\", image_size=16}'", 2, {"nowhere"});
  refuses("--set 'data={type=\"zip\", path=\"small.toml\", image_size=16}'", 1, {"small.toml", "zip"});
}

TEST_CASE("an unreadable image stops the run by name, or is skipped if requested") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  fs::create_directories(folder.path() / "images");
  REQUIRE(shell("casdm train small.toml --set train.total_images=4 --set run.name=first && casdm sample runs/first "
                "--num 5 --out s && "
                "cp s/00000*.png images/ && head -c 60 s/000001.png > images/broken.png",
                folder.path())
              .status == 0);
  const std::string data = " --set 'data={type=\"folder\", path=\"images\", image_size=16}'";
  const Outcome stopped = shell("casdm train small.toml" + data, folder.path());
  CHECK(stopped.status == 1);
  CHECK_MESSAGE(stopped.err.find("broken.png") != std::string::npos, stopped.err);
  const Outcome skipped =
      shell("casdm train small.toml --set run.name=skips" + data + " --set data.skip_unreadable=true", folder.path());
  CHECK_MESSAGE(skipped.status == 0, skipped.err);
  CHECK(skipped.err.find("broken.png") != std::string::npos);
  CHECK_MESSAGE(skipped.err.find("left out 1 of ") != std::string::npos, skipped.err);
  CHECK_MESSAGE(skipped.err.find("1 cannot be decoded: the file ends too early") != std::string::npos, skipped.err);
}

TEST_CASE("an existing run folder is refused and left unchanged") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  REQUIRE(shell("casdm train small.toml --set train.total_images=4", folder.path()).status == 0);
  const std::string before = read_file(folder.path() / "runs/small/metrics.jsonl");
  const Outcome second = shell("casdm train small.toml", folder.path());
  CHECK(second.status == 2);
  CHECK(second.err.find("--resume") != std::string::npos);
  CHECK(read_file(folder.path() / "runs/small/metrics.jsonl") == before);
}

TEST_CASE("a full disk ends the run with a clear message and keeps what was saved") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  for (const std::string mode : {"never", "always"}) {
    const std::string run = "runs/" + mode, on = "casdm train --resume " + run + " --set train.total_images=32";
    REQUIRE(shell("casdm train small.toml --set train.total_images=8 --set run.name=" + mode +
                      " --set checkpoint.in_background=" + mode,
                  folder.path())
                .status == 0);
    // A limit on file sizes stands in for the full disk.
    const Outcome full = shell("trap '' XFSZ; ulimit -f 20; " + on, folder.path());
    CHECK(full.status == 1);
    const std::string message = "could not be saved (earlier ones are kept)";
    const std::size_t first = full.err.find(message);
    CHECK_MESSAGE(first != std::string::npos, full.err);
    CHECK_MESSAGE(full.err.find(message, first + 1) == std::string::npos, full.err);
    CHECK(fs::exists(folder.path() / run / "checkpoints/000000000008/state.json"));
    for (const auto& entry : fs::recursive_directory_iterator(folder.path() / "runs")) {
      CHECK_MESSAGE(entry.path().string().find(".tmp") == std::string::npos, entry.path().string());
    }
    CHECK(shell(on, folder.path()).status == 0);
  }
}

TEST_CASE("cuda is refused with a clear message if there is no device") {
  if (fs::exists("/dev/nvidiactl")) {
    MESSAGE("skipped: this machine has an NVIDIA driver");
    return;
  }
  refuses("--set run.device=cuda", 1, {"no CUDA device can be used", "cpu"});
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const std::string said = shell("casdm train small.toml --set run.device=cuda", folder.path()).err;
  if (contains(said, "the CUDA libraries cannot be loaded (the library lib")) {
    CHECK_MESSAGE(contains(said, "libtorch_cuda.so needs, is not found"), said);
    CHECK_MESSAGE(contains(said, "run `tools/setup.sh --cuda`"), said);
  } else {
    const bool is_explained = contains(said, "there is no NVIDIA driver") || contains(said, "was built without CUDA");
    CHECK_MESSAGE(is_explained, said);
  }
}

TEST_CASE("a command that writes a file removes the leftovers of one that was killed") {
  const TemporaryFolder folder;
  write_file(folder.path() / ".tmp-1-0123456789abcdef", "half");
  write_file(folder.path() / ".tmp-notes", "the user's");
  REQUIRE(shell("casdm config schema --out schema.json", folder.path()).status == 0);
  CHECK_FALSE(std::filesystem::exists(folder.path() / ".tmp-1-0123456789abcdef"));
  CHECK(std::filesystem::exists(folder.path() / ".tmp-notes"));
}

TEST_CASE("a library that is not a plugin is named and does not affect others") {
  const TemporaryFolder folder;
  write_small_config(folder.path(), "[plugins]\npaths = [\"bad\"]\n");
  fs::create_directories(folder.path() / "bad");
  write_file(folder.path() / "bad/garbage.so", "not a library");
  CHECK(shell("casdm train small.toml --set train.total_images=4", folder.path()).status == 0);
  const Outcome list = shell("CASDM_PLUGIN_PATH=\"$PWD/bad\" casdm plugins list", folder.path());
  CHECK(list.status == 0);
  CHECK_MESSAGE((list.out + list.err).find("garbage.so") != std::string::npos, list.out << list.err);
}

TEST_CASE("a path that config.toml cannot hold is refused before there is a run") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  fs::create_directory(folder.path() / "d\xe9");
  const Outcome outcome = shell("casdm train small.toml --set data.type=folder --set data.path=d\xe9", folder.path());
  CHECK(outcome.status == 2);
  CHECK_MESSAGE(contains(outcome.err, "d\\xe9\" is not UTF-8, and config.toml cannot hold it"), outcome.err);
  CHECK_FALSE(fs::exists(folder.path() / "runs"));
}
