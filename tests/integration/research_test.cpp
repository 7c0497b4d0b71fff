#include <doctest/doctest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "framework/support/files.h"
#include "framework/support/sha256.h"
#include "integration/program.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

const char* const kCommon = R"([run]
name = "research"
device = "cpu"
threads = 1
[train]
batch_size = 4
total_images = 24
[log]
every_images = 8
sample_count = 2
[checkpoint]
every_images = 8
)";

const char* const kShapes = "[data]\ntype = \"shapes\"\nimage_size = 16\n";
const char* const kCosine = "[noise]\ntype = \"cosine\"\nnum_train_timesteps = 100\n";
const char* const kDdim = "[sampler]\ntype = \"ddim\"\nspacing = \"trailing\"\nnum_inference_steps = 3\n";
const char* const kUnet =
    "type = \"unet\"\nchannels = 8\nchannel_mult = [1, 2]\nnum_res_blocks = 1\nattention_resolutions = []\ngroups = "
    "4\n";

std::string head(const std::string& type, const std::string& more = "", const std::string& network = kUnet) {
  std::string text = "[head]\ntype = \"" + type + "\"\n" + more + "[head.theta]\n" + network;
  if (type == "cascade") text += "[head.phi]\n" + network;
  return text;
}

const std::string kQueue =
    "[[metrics]]\ntype = \"feature_frechet\"\nextractor = { type = \"pixels\", size = 4 }\nqueue = 8\n";
const std::string kFlow = "[noise]\ntype = \"flow\"\n[timesteps]\ntype = \"logit_normal\"\n";
const std::string kFlowWithSignal = "[noise]\ntype = \"flow\"\nt_max = 0.999\n[timesteps]\ntype = \"logit_normal\"\n";
const std::string kEdm = "[noise]\ntype = \"edm\"\n[timesteps]\ntype = \"log_normal\"\n";

/// What the interfaces of this version make possible, each from an experiment file alone.
std::map<std::string, std::string> experiments() {
  const std::string vit = "type = \"dit\"\npatch = 4\nwidth = 16\ndepth = 2\nnum_heads = 2\n";
  return {
      {"flow matching", kShapes + kFlow + head("single", "prediction_type = \"flow\"\n") +
                            "[sampler]\ntype = \"heun\"\nspacing = \"trailing\"\nnum_inference_steps = 3\n"},
      {"EDM",
       kShapes + kEdm + head("edm") + "[sampler]\ntype = \"heun\"\nspacing = \"karras\"\nnum_inference_steps = 3\n"},
      {"Cas-DM on a flow",
       kShapes + kFlowWithSignal + head("cascade") + "[[metrics]]\ntype = \"l1\"\nt_range = [0.0, 0.5]\n" + kDdim},
      {"Cas-DM on EDM's path", kShapes + kEdm + head("cascade") + "[[metrics]]\ntype = \"l1\"\n" + kDdim},
      {"a transformer that predicts x0, with losses gated in flow time",
       kShapes + kFlow + head("single", "prediction_type = \"sample\"\n", vit) +
           "[[metrics]]\ntype = \"gated_l1\"\nnoise_range = [0.0, 0.7]\nnoise_unit = \"flow_time\"\n" + kDdim},
      {"feature alignment with a projector that stops",
       std::string(kShapes) + kCosine + head("single") +
           "[head.alignment]\nextractor = { type = \"pixels\" }\nprojector_width = 8\nuntil_images = 12\n" + kDdim},
      {"a distribution loss with a queue", std::string(kShapes) + kCosine + head("single") + kQueue + kDdim},
      {"a student and the running average of it", kShapes + kFlowWithSignal +
                                                      head("consistency", "first_steps = 10\nlast_steps = 10\n") +
                                                      "[[metrics]]\ntype = \"l1\"\n" + kDdim},
      {"a data set with a conditioning image",
       std::string("[data]\ntype = \"pairs\"\nimage_size = 16\nrandom_flip = true\n") + kCosine +
           head("single", "", "type = \"conditioned\"\n") + kDdim},
  };
}

const std::string kPlugin = " --plugin '" CASDM_TEST_PLUGIN_DIR "/research.so'";

Outcome train(const fs::path& folder, const std::string& more) {
  return shell("casdm train research.toml --set checkpoint.keep_last=9" + kPlugin + more, folder);
}

Outcome check(const TemporaryFolder& folder, const std::string& experiment, const std::string& more = "") {
  write_file(folder.path() / "research.toml", kCommon + experiment);
  return train(folder.path(), " --set train.total_images=4" + more);
}

void refused(const std::string& experiment, const std::string& message, const std::string& more = "") {
  const TemporaryFolder folder;
  const Outcome outcome = check(folder, experiment, more);
  CHECK(outcome.status != 0);
  CHECK_MESSAGE(outcome.err.find(message) != std::string::npos, outcome.err);
  CHECK_MESSAGE(outcome.err.find("step 1") == std::string::npos, "before training: ", outcome.err);
}

}  // namespace

TEST_CASE("new research needs a plugin and an experiment file, and resumes bit for bit") {
  for (const auto& [what, experiment] : experiments()) {
    INFO(what);
    const TemporaryFolder folder;
    write_file(folder.path() / "research.toml", kCommon + experiment);
    const Outcome whole = train(folder.path(), " --set run.name=whole");
    REQUIRE_MESSAGE(whole.status == 0, whole.err);
    const Outcome half = train(folder.path(), " --set run.name=half --set train.total_images=16");
    REQUIRE_MESSAGE(half.status == 0, half.err);
    const Outcome resumed =
        shell("casdm train --resume runs/half --set train.total_images=24" + kPlugin, folder.path());
    REQUIRE_MESSAGE(resumed.status == 0, resumed.err);
    for (const fs::directory_entry& entry :
         fs::directory_iterator(folder.path() / "runs/whole/checkpoints/000000000024")) {
      if (entry.path().extension() != ".safetensors") continue;
      const fs::path other = folder.path() / "runs/half/checkpoints/000000000024" / entry.path().filename();
      CHECK_MESSAGE(sha256_of_file(entry.path()) == sha256_of_file(other), entry.path().filename().string());
    }
    const Outcome sample = shell("casdm sample runs/half --num 2 --out s" + kPlugin, folder.path());
    CHECK_MESSAGE(sample.status == 0, sample.err);
  }
}

TEST_CASE("the conditions of samples belong to the sampling: other conditions make another one") {
  const TemporaryFolder folder;
  const Outcome trained = check(folder, experiments().at("a data set with a conditioning image"));
  REQUIRE_MESSAGE(trained.status == 0, trained.err);
  const auto sample = [&](const std::string& out, const std::string& more) {
    return shell("casdm sample runs/research --num 2 --out " + out + more + kPlugin, folder.path());
  };
  REQUIRE(sample("s", "").status == 0);
  CHECK_MESSAGE(trained.err.find("[augmentation]") == std::string::npos, trained.err);
  const Outcome augmented = train(folder.path(),
                                  " --set run.name=augmented --set train.total_images=4 --set "
                                  "'augmentation={type=\"edm\"}'");
  REQUIRE_MESSAGE(augmented.status == 0, augmented.err);
  CHECK_MESSAGE(augmented.err.find("changes the image but not \"image\"") != std::string::npos, augmented.err);
  const Outcome same = sample("s", "");
  CHECK_MESSAGE(same.err.find("the sampling is complete") != std::string::npos, same.err);
  for (const std::string more : {" --set data.scale=-1.0", " --set 'data={type=\"pairs\",image_size=16,scale=-1.0}'"}) {
    const Outcome other = sample("s", more);
    CHECK(other.status == 2);
    CHECK_MESSAGE(other.err.find("data.scale: 0.5 there, -1.0 now") != std::string::npos, other.err);
    const Outcome fresh = sample("t", more + " --overwrite");
    CHECK_MESSAGE(fresh.status == 0, fresh.err);
    CHECK(read_file(folder.path() / "s/000000.png") != read_file(folder.path() / "t/000000.png"));
  }
  // The data set's extras may change even if its table does not.
  const auto turned = [&](const std::string& command) {
    return shell("CASDM_TEST_TURNED=all casdm " + command + kPlugin, folder.path());
  };
  const Outcome others = turned("sample runs/research --num 2 --out s");
  CHECK(others.status == 2);
  CHECK_MESSAGE(others.err.find("data_content") != std::string::npos, others.err);
  const Outcome resumed = turned("train --resume runs/research --set train.total_images=28");
  CHECK(resumed.status == 1);
  CHECK_MESSAGE(resumed.err.find("12 of the 12 extras that were looked at are others") != std::string::npos,
                resumed.err);
  const Outcome bright = shell("casdm data inspect research.toml --set data.scale=3.0" + kPlugin, folder.path());
  CHECK(bright.status == 1);
  CHECK_MESSAGE(bright.out.find("pair 0: the extra \"image\", an image, has the value") != std::string::npos,
                bright.err);
  CHECK_MESSAGE(bright.out.find("which a training does not keep (they have extras)") != std::string::npos, bright.out);
}

TEST_CASE("other conditions of any image that samples use make another sampling and another evaluation") {
  const TemporaryFolder folder;
  const std::string pairs = experiments().at("a data set with a conditioning image") +
                            "[evaluate]\nnum = 8\nreference_num = 8\n[[evaluate.judges]]\ntype = \"pixels\"\nsize = 4\n"
                            "metrics = [{ type = \"frechet\" }]\n";
  const Outcome trained = check(folder, pairs, " --set data.count=100");
  REQUIRE_MESSAGE(trained.status == 0, trained.err);
  const auto run = [&](const std::string& command, const std::string& turned) {
    return shell("CASDM_TEST_TURNED=" + turned + " casdm " + command + kPlugin, folder.path());
  };
  const std::string sample = "sample runs/research --num 2 --out s", evaluate = "evaluate runs/research --num 8";
  for (const std::string& command : {sample, evaluate}) {
    const Outcome first = run(command, "none");
    CHECK_MESSAGE(first.status == 0, first.err);
  }
  // Image 1 is none of the 16 that the fingerprint of the data looks at.
  const Outcome others = run(sample, "1");
  CHECK(others.status == 2);
  CHECK_MESSAGE(others.err.find("conditions_sha256: ") != std::string::npos, others.err);
  CHECK_MESSAGE(run(sample, "9").err.find("the sampling is complete") != std::string::npos, "not used");
  CHECK_MESSAGE(run(evaluate, "9").err.find("already evaluated") != std::string::npos, "not used");
  const Outcome again = run(evaluate, "1");
  CHECK_MESSAGE(again.status == 0, again.err);
  CHECK_MESSAGE(again.err.find("already evaluated") == std::string::npos, again.err);
  const Outcome compared = shell("casdm compare runs/research --measure '*frechet*'", folder.path());
  CHECK_MESSAGE(compared.out.find("conditions_sha256=") != std::string::npos, compared.out << compared.err);
}

TEST_CASE("an export of a network without a layout lists its options that differ where it is imported") {
  const TemporaryFolder folder;
  const Outcome trained = check(folder, experiments().at("a data set with a conditioning image"));
  REQUIRE_MESSAGE(trained.status == 0, trained.err);
  const Outcome exported =
      shell("casdm export runs/research --module theta --out theta.safetensors" + kPlugin, folder.path());
  REQUIRE_MESSAGE(exported.status == 0, exported.err);
  const std::string init = " --set train.total_images=4 --set 'init=[{module=\"theta\",from=\"theta.safetensors\"}]'";
  const Outcome other = train(folder.path(), " --set run.name=other --set head.theta.gain=0.5" + init);
  CHECK_MESSAGE(other.status == 0, other.err);
  CHECK_MESSAGE(other.err.find("head.theta differs from") != std::string::npos, other.err);
  CHECK_MESSAGE(other.err.find("gain: 1.0 -> 0.5") != std::string::npos, other.err);
  const Outcome same = train(folder.path(), " --set run.name=same" + init);
  CHECK_MESSAGE(same.status == 0, same.err);
  CHECK_MESSAGE(same.err.find("differs from") == std::string::npos, same.err);
}

TEST_CASE("a network whose output is cut off from its weights is reported as trained by nothing") {
  const TemporaryFolder folder;
  const Outcome outcome =
      check(folder, kShapes + std::string(kCosine) + head("single", "", "type = \"detached\"\n") + kDdim);
  CHECK_MESSAGE(outcome.status == 0, outcome.err);
  const std::string warning = "warning: none of the loss terms (eps) has a weight and trains module theta";
  CHECK_MESSAGE(outcome.err.find(warning) != std::string::npos, outcome.err);
}

TEST_CASE("a metric inside another gets the context and keeps the memory that it would have alone") {
  const std::string start = kShapes + std::string(kCosine) + head("single") + kDdim;
  // For whole images, none of the three changes anything.
  const std::vector<std::string> around = {
      "type = \"METRIC\"\n", "type = \"resized\"\nsize = 16\nmetric = {type = \"METRIC\"}\n",
      "type = \"patch\"\nsize = 16\nmetric = {type = \"METRIC\"}\n", "type = \"sum\"\nterms = [{type = \"METRIC\"}]\n"};
  for (const std::string metric : {"gated_l1", "relative_l1"}) {
    CAPTURE(metric);
    std::set<std::string> weights;
    for (std::string table : around) {
      table.replace(table.find("METRIC"), 6, metric);
      const TemporaryFolder folder;
      const Outcome outcome =
          check(folder, start + "[[metrics]]\nname = \"m\"\n" + table, " --set train.total_images=8");
      REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
      weights.insert(sha256_of_file(folder.path() / "runs/research/checkpoints/000000000008/weights.safetensors"));
    }
    CHECK(weights.size() == 1);
  }
}

TEST_CASE("weights are imported for a network that gets more than images") {
  const TemporaryFolder folder;
  const Outcome trained = check(folder, experiments().at("a data set with a conditioning image"));
  REQUIRE_MESSAGE(trained.status == 0, trained.err);
  const Outcome exported =
      shell("casdm export runs/research --module theta --out theta.safetensors" + kPlugin, folder.path());
  REQUIRE_MESSAGE(exported.status == 0, exported.err);
  const std::string import =
      "casdm import theta.safetensors --out copy.safetensors --config research.toml --module theta";
  const Outcome imported = shell(import + kPlugin, folder.path());
  CHECK_MESSAGE(imported.status == 0, imported.err);
}

TEST_CASE("an export says where the experiment does not have the options of a network") {
  const TemporaryFolder folder;
  const Outcome trained = check(folder, experiments().at("a student and the running average of it"));
  REQUIRE_MESSAGE(trained.status == 0, trained.err);
  for (const auto& [module, is_warned] : {std::pair("theta", false), {"teacher", true}}) {
    const Outcome exported =
        shell(std::string("casdm export runs/research --out w.safetensors --overwrite --module ") + module + kPlugin,
              folder.path());
    REQUIRE_MESSAGE(exported.status == 0, exported.err);
    const bool is_said = exported.err.find("[head] has no table teacher, so the options") != std::string::npos;
    CHECK_MESSAGE(is_said == is_warned, exported.err);
  }
}

TEST_CASE("an invalid path is refused before training, with its component") {
  const std::string rest = head("single") + std::string(kDdim);
  const auto path = [](const char* fault) {
    return std::string("[noise]\ntype = \"faulty_path\"\nfault = \"") + fault + "\"\n";
  };
  refused(kShapes + path("rises") + rest, "signal-to-noise ratio does not fall");
  refused(kShapes + path("not_finite") + rest, "sigma is ");
  refused(kShapes + path("empty") + rest, "do not go one way");
  refused(kShapes + path("float") + rest, "expected float64");
}

TEST_CASE("what does not fit the interfaces is refused before training, in one message") {
  const std::string start = std::string(kShapes) + kCosine;
  refused(start + head("single") + "[head.alignment]\nextractor = { type = \"pixels\" }\ntap = \"midle\"\n" + kDdim,
          "did you mean middle");
  refused(start + head("teacher", "fault = \"each_other\"\n") + kDdim, "averages a module that is an average itself");
  refused(start + head("teacher", "fault = \"stranger\"\n") + kDdim, "averages a module that the head does not have");
  refused(start + head("single") + kQueue + kDdim, "train.accumulate = 2", " --set train.accumulate=2");
  refused(start + head("single", "", "type = \"conditioned\"\n") + kDdim, "needs a data set with the extra");
  refused(kShapes + kFlow + head("cascade") + kDdim, "ends in pure noise");
}

TEST_CASE("the state of a metric belongs to the checkpoint") {
  const TemporaryFolder folder;
  const std::string start = std::string(kShapes) + kCosine + head("single") + kDdim;
  write_file(folder.path() / "research.toml", kCommon + start + kQueue);
  const Outcome first = train(folder.path(), "");
  REQUIRE_MESSAGE(first.status == 0, first.err);
  CHECK(fs::exists(folder.path() / "runs/research/checkpoints/000000000024/metrics.safetensors"));
  const Outcome without = shell(
      "casdm train --resume runs/research --set train.total_images=32 --set 'metrics=[]'" + kPlugin, folder.path());
  CHECK(without.status == 2);
  CHECK_MESSAGE(without.err.find("state of metrics") != std::string::npos, without.err);
}
