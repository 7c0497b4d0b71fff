#include <ATen/ATen.h>
#include <doctest/doctest.h>
#include <unistd.h>

#include <map>

#include "casdm/safetensors.h"
#include "casdm/text.h"
#include "framework/support/files.h"
#include "integration/program.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

/// SHA-256 of every file below `folder`.
std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> result;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) result[entry.path().string()] = sha256_of_file(entry.path());
  }
  return result;
}

/// A folder with the run runs/small and the experiment for it.
class TrainedRun : public TemporaryFolder {
 public:
  TrainedRun() {
    write_small_config(path(), R"([ema]
snapshot_every_images = 8
[[ema.also]]
name = "p05"
sigma_rel = 0.05
[[ema.also]]
name = "p10"
sigma_rel = 0.1
)");
    const Outcome train = shell("casdm train small.toml --set train.total_images=8", path());
    REQUIRE_MESSAGE(train.status == 0, train.err);
  }

  Outcome run(const std::string& command) const { return shell("casdm " + command, path()); }

  void refuses(const std::string& command, const std::vector<std::string>& expected) const {
    const Outcome outcome = run(command);
    CHECK_MESSAGE(outcome.status == 2, command << "\n" << outcome.err);
    for (const std::string& part : expected)
      CHECK_MESSAGE(outcome.err.find(part) != std::string::npos, command << "\n" << outcome.err);
  }

  void succeeds(const std::string& command) const {
    const Outcome outcome = run(command);
    CHECK_MESSAGE(outcome.status == 0, command << "\n" << outcome.err);
  }
};

}  // namespace

TEST_CASE("no command writes among the files of a training, whatever --overwrite says") {
  const TrainedRun trained;
  const fs::path run = trained.path() / "runs/small";
  fs::create_directory_symlink(run / "checkpoints/000000000008", trained.path() / "link");
  const auto before = contents(run);
  const std::vector<std::string> places = {"runs/small",
                                           "runs/small/config.toml",
                                           "runs/small/metrics.jsonl",
                                           "runs/small/.lock",
                                           "runs/small/ema",
                                           "runs/small/ema/new.safetensors",
                                           "runs/small/ema/000000000008-0.05.safetensors",
                                           "runs/small/samples/8.png",
                                           "runs/small/set-aside-1",
                                           "runs/small/checkpoints",
                                           "runs/small/checkpoints/000000000008",
                                           "runs/small/checkpoints/000000000008/weights.safetensors",
                                           "runs/small/checkpoints/000000000008/new/deep",
                                           "runs/small/samples/../checkpoints/000000000008/",
                                           "link",
                                           "link/ema.safetensors",
                                           "link/new"};
  const std::vector<std::string> commands = {"export runs/small --module theta --overwrite --out ",
                                             "export runs/small --module theta --layout diffusers --overwrite --out ",
                                             "ema runs/small --sigma-rel 0.07 --overwrite --out ",
                                             "import runs/small/ema/000000000008-0.05.safetensors --overwrite --out ",
                                             "sample runs/small --num 1 --overwrite --out ",
                                             "config init --out ",
                                             "config schema --out ",
                                             "config reference --out ",
                                             "plugins new --kind metric mine --out "};
  for (const std::string& command : commands) {
    // All places for one command, and a few of them for the others.
    for (std::size_t i = 0; i < places.size(); i += command == commands.front() ? 1 : 5)
      trained.refuses(command + places[i], {"belongs to the ", "which only training writes to"});
  }
  trained.refuses("sample runs/small --num 1 --out runs/small/checkpoints/000000000008", {"belongs to the checkpoint"});
  trained.refuses("train small.toml --set run.directory=runs/small/samples", {"belongs to the run"});
  CHECK(contents(run) == before);
  // Other names beside them are free.
  trained.succeeds("export runs/small --module theta --out runs/small/theta.safetensors");
  trained.succeeds("sample runs/small --num 1 --out runs/small/drawn");
}

TEST_CASE("a command whose file may not become so large says so and leaves nothing behind") {
  const TrainedRun trained;
  const auto before = std::distance(fs::directory_iterator(trained.path()), fs::directory_iterator());
  for (const std::string command :
       {"ema runs/small --sigma-rel 0.07 --out a.safetensors", "export runs/small --module theta --out a.safetensors",
        "config schema --out a.json"}) {
    const Outcome outcome = shell("ulimit -f 4; casdm " + command, trained.path());
    CHECK(outcome.status == 1);
    CHECK_MESSAGE(contains(outcome.err, "File too large"), outcome.err);
    CHECK(std::distance(fs::directory_iterator(trained.path()), fs::directory_iterator()) == before);
  }
}

TEST_CASE("--overwrite replaces files made by the same command, and no others") {
  const TrainedRun trained;
  const std::string exports = "export runs/small --module theta --out ";
  const std::string averages = "ema runs/small --sigma-rel 0.07 --out ";
  const std::string imports = "import e.safetensors --out ";
  const auto as_folder = [&](const std::string& out) { return exports + out + " --layout diffusers"; };
  trained.succeeds(exports + "e.safetensors");
  trained.succeeds(averages + "a.safetensors");
  trained.succeeds(imports + "i.safetensors --set attention_order=legacy");
  trained.succeeds("export runs/small --module theta --layout diffusers --out d");
  // Its own file, again.
  trained.succeeds(exports + "e.safetensors --weights raw --overwrite");
  trained.succeeds(averages + "a.safetensors --overwrite");
  trained.succeeds(imports + "i.safetensors --overwrite");
  trained.succeeds(as_folder("d") + " --overwrite");
  write_file(trained.path() / "empty", "");
  trained.succeeds(exports + "empty --overwrite");
  // The header says who made a file, even if it was truncated.
  const std::string whole = read_file(trained.path() / "e.safetensors");
  write_file(trained.path() / "cut.safetensors", whole.substr(0, whole.size() - 1));
  trained.succeeds(exports + "cut.safetensors --overwrite");

  fs::create_directory(trained.path() / "mine");
  write_file(trained.path() / "mine/config.json", "{}");
  write_file(trained.path() / "mine/diffusion_pytorch_model.safetensors", "mine");
  write_file(trained.path() / "notes.txt", "mine");
  const auto before = contents(trained.path() / "mine");
  const std::string hint = "--overwrite does not replace it";
  for (const std::string name : {"notes.txt", "small.toml", "mine", "mine/config.json"}) {
    for (const std::string& command : {exports, averages, imports}) {
      trained.refuses(command + name + " --overwrite", {name, "was not made by `casdm ", hint});
    }
    trained.refuses(as_folder(name) + " --overwrite", {name, hint});
  }
  trained.refuses("export runs/small --module theta.input_blocks --out p.safetensors", {"has no module", "phi, theta"});
  trained.refuses(exports + "a.safetensors --overwrite", {hint});
  trained.refuses(averages + "e.safetensors --overwrite", {hint});
  trained.refuses(imports + "e.safetensors --overwrite", {"is the input"});
  CHECK(read_file(trained.path() / "notes.txt") == "mine");
  CHECK(contents(trained.path() / "mine") == before);
}

TEST_CASE("weights that are not of the run's network, or of no network of the layout, are not exported") {
  const TrainedRun trained;
  const std::string exports = "export runs/small --module ", out = " --out out.safetensors";
  trained.succeeds(exports + "theta --out e.safetensors");
  trained.succeeds("ema runs/small --sigma-rel 0.07 --out a.safetensors");
  trained.succeeds(exports + "theta --weights a.safetensors" + out);
  fs::remove(trained.path() / "out.safetensors");
  trained.refuses(exports + "theta --weights e.safetensors" + out, {"e.safetensors has no module \"theta\"; it has "});
  trained.refuses(exports + "input_blocks --weights e.safetensors" + out,
                  {"has no module \"input_blocks\"; it has phi, theta"});
  TensorFile other = read_safetensors(trained.path() / "a.safetensors");
  for (auto& [name, tensor] : other.tensors) {
    if (name == "theta.time_embed.0.bias") tensor = at::cat({tensor, tensor});
  }
  other.metadata.erase("sha256");
  write_safetensors(trained.path() / "b.safetensors", other.tensors, other.metadata);
  trained.refuses(exports + "theta --weights b.safetensors" + out,
                  {"b.safetensors, module theta does not fit the network", "time_embed.0.bias has shape"});

  trained.succeeds("train small.toml --set train.total_images=4 --set run.name=gate --set head.gate_detach_trunk=true");
  const std::string gate = "export runs/gate --module phi --out phi.safetensors";
  trained.refuses(gate + " --layout adm", {"phi is no network of the layout \"adm\": ", "leave --layout out"});
  trained.succeeds(gate);
}

TEST_CASE("a folder of weights is replaced if its description came with the weights, and not otherwise") {
  const TrainedRun trained;
  const std::string command = "export runs/small --module theta --layout diffusers --out d";
  const fs::path config = trained.path() / "d/config.json";
  trained.succeeds(command);
  const auto exported = contents(trained.path() / "d");
  write_file(trained.path() / "d/README.md", "mine");
  const std::string written = read_file(config);
  for (const std::string& mine : std::vector<std::string>{"{\"mine\":1}", "", written + "\n"}) {
    write_file(config, mine);
    const auto before = contents(trained.path() / "d");
    trained.refuses(command + " --overwrite --weights raw", {"d/config.json", "--overwrite does not replace it"});
    CHECK(contents(trained.path() / "d") == before);
  }
  // A replacement that was killed leaves no description.
  fs::remove(config);
  fs::create_directory(trained.path() / "d/.tmp-1-0123456789abcdef");
  trained.succeeds(command + " --overwrite --weights raw");
  CHECK(read_file(config) == written);
  CHECK(contents(trained.path() / "d").size() == 3);
  CHECK_FALSE(fs::exists(trained.path() / "d/.tmp-1-0123456789abcdef"));
  trained.succeeds(command + " --overwrite");
  fs::remove(trained.path() / "d/README.md");
  CHECK(contents(trained.path() / "d") == exported);
}

TEST_CASE("a folder that cannot be written is named by every command that writes, and stays unchanged") {
  const TrainedRun trained;
  trained.succeeds("export runs/small --module theta --out e.safetensors");
  trained.succeeds("sample runs/small --num 1 --out drawn");
  fs::create_directory(trained.path() / "ro");
  for (const char* name : {"runs/small", "drawn", "e.safetensors"}) {
    fs::copy(trained.path() / name, trained.path() / "ro" / fs::path(name).filename(), fs::copy_options::recursive);
  }
  shell("chmod -R a-w ro", trained.path());
  const auto before = contents(trained.path() / "ro");
  const std::string unprivileged = ::geteuid() == 0 ? "setpriv --bounding-set=-all --inh-caps=-all " : "";
  for (const std::string command :
       {"train small.toml --set run.directory=ro --set run.name=new", "train --resume ro/small",
        "train small.toml --set run.directory=ro --overwrite", "sample runs/small --num 1 --out ro/new",
        "sample runs/small --num 2 --out ro/drawn --overwrite", "export runs/small --module theta --out ro/new",
        "export runs/small --module theta --out ro/e.safetensors --overwrite",
        "export runs/small --module theta --layout diffusers --out ro/new",
        "ema runs/small --sigma-rel 0.07 --out ro/new", "import e.safetensors --out ro/new",
        "config schema --out ro/new", "config reference --out ro/new"}) {
    const Outcome outcome = shell(unprivileged + "casdm " + command, trained.path());
    CHECK_MESSAGE(outcome.status == 1, command << "\n" << outcome.err);
    CHECK_MESSAGE(outcome.err.find("Permission denied") != std::string::npos, command << "\n" << outcome.err);
    CHECK_MESSAGE(outcome.err.find("ro/") != std::string::npos, command << "\n" << outcome.err);
    CHECK_MESSAGE(contents(trained.path() / "ro") == before, command);
  }
  // Reading works there.
  for (const std::string command : {"sample ro/small --num 1 --out s", "export ro/small --module theta --out x",
                                    "ema ro/small --sigma-rel 0.07 --out y"}) {
    const Outcome outcome = shell(unprivileged + "casdm " + command, trained.path());
    CHECK_MESSAGE(outcome.status == 0, command << "\n" << outcome.err);
  }
  shell("chmod -R u+w ro", trained.path());
}

TEST_CASE("config reference replaces only its own pages") {
  const TrainedRun trained;
  trained.succeeds("config reference --out pages");
  write_file(trained.path() / "pages/sampler.md", "# sampler\n\n<!-- Generated by `casdm config reference` -->\nold\n");
  trained.succeeds("config reference --out pages");
  CHECK_FALSE(read_file(trained.path() / "pages/sampler.md").ends_with("\nold\n"));
  write_file(trained.path() / "pages/README.md", "mine");
  const auto before = contents(trained.path() / "pages");
  trained.refuses("config reference --out pages",
                  {"\"pages\" holds README.md", "not written by `casdm config reference`"});
  CHECK(contents(trained.path() / "pages") == before);
}

TEST_CASE("an option and --set of the same key are refused together, naming both") {
  const TrainedRun trained;
  const auto refuses = [&](const std::string& option, const std::string& set, const std::string& key) {
    trained.refuses("sample runs/small --num 1 --out s " + option + " --set '" + set + "'",
                    {option + " and --set " + set, "both set " + key});
  };
  refuses("--sampler ddim", "sampler.type=ddpm", "sampler.type");
  refuses("--sampler ddim", "sampler={type=\"ddpm\"}", "sampler.type");
  refuses("--steps 2", "sampler.num_inference_steps=3", "sampler.num_inference_steps");
  refuses("--steps 2", "sampler={type=\"ddpm\"}", "sampler.num_inference_steps");
  refuses("--eta 0", " \"sampler\".eta = 1", "sampler.eta");
  refuses("--guidance 1", "guidance.scale=2", "guidance.scale");
  refuses("--guidance 1", "guidance={scale=2}", "guidance.scale");
  refuses("--device cpu", "run.device=cuda", "run.device");
  trained.refuses("sample runs/small --num 1 --out s --seed 1 --set run.seed=2", {"run.seed=2", "--seed N"});
  trained.refuses("config init --type data=zip --type data=folder", {"--type data=zip and --type data=folder"});
  trained.succeeds("export runs/small --module theta --out e.safetensors");
  trained.refuses("import e.safetensors --out i --image-size 32 --config small.toml --module theta",
                  {"--image-size 32", "small.toml have 16 pixels"});
  trained.succeeds("sample runs/small --num 1 --out s --sampler ddim --steps 2 --set sampler.spacing=trailing");
}

TEST_CASE("an average of another run's snapshots is accepted only for the network it was trained in") {
  const TrainedRun trained;
  trained.succeeds("ema runs/small --sigma-rel 0.07 --out a.safetensors");
  trained.succeeds(
      "train small.toml --set train.total_images=8 --set run.name=other --set head.theta.timestep_scale=10");
  const std::string with = " --weights a.safetensors --out ";
  trained.succeeds("sample runs/small --num 1" + with + "s");
  trained.succeeds("export runs/small --module theta" + with + "e.safetensors");
  const std::string reason = "timestep_scale = 1.0, head.theta has 10.0";
  trained.refuses("sample runs/other --num 1" + with + "o", {"a.safetensors", reason});
  trained.refuses("export runs/other --module theta" + with + "o.safetensors", {"a.safetensors", reason});
  trained.refuses(
      "train small.toml --set run.name=third --set head.theta.timestep_scale=10 --set "
      "'init=[{module=\"theta\",from=\"a.safetensors\"}]'",
      {"a.safetensors", reason});
}

TEST_CASE("a number of steps overruled by another option of the sampler is refused") {
  const TrainedRun trained;
  const std::string sample =
      "sample runs/small --num 1 --out s --set 'sampler={type=\"ddim\",timestep_respacing=\"4\"}' ";
  trained.refuses(sample + "--set sampler.num_inference_steps=3", {"--set sampler.num_inference_steps=3",
                                                                   "sets the "
                                                                   "number of steps to 4",
                                                                   "timestep_respacing"});
  trained.succeeds(sample);
  trained.refuses(
      "evaluate runs/small --num 4 --steps 3,5 --set 'evaluate.judges=[{type=\"pixels\"}]' --set sampler.type=ddim "
      "--set 'sampler.timestep_respacing=\"4\"'",
      {"--set sampler.num_inference_steps=3", "sets the number of steps to 4"});
}

TEST_CASE("what a component refuses is attributed to the --set that set it") {
  const TrainedRun trained;
  trained.refuses(
      "train small.toml --dry-run --set sampler.num_inference_steps=50 --set sampler.timestep_respacing=90,4",
      {"--set sampler.timestep_respacing=90,4: sampler.timestep_respacing: ", "timesteps of section 0"});
  trained.refuses("sample runs/small --num 1 --out s --sampler ddim --set sampler.timestep_respacing=ddim97",
                  {"--set sampler.timestep_respacing=ddim97: ", "no whole stride"});
  trained.refuses("train small.toml --dry-run --set head.theta.groups=7", {"--set head.theta.groups=7: "});
}

TEST_CASE("errors about a path name that path") {
  const TrainedRun trained;
  trained.refuses("sample runs/small --num 1 --out s --weights /dev/null", {"\"/dev/null\"", "is not a regular file"});
  trained.refuses("sample runs/small --num 1 --out s --weights runs", {"\"runs\"", "is not a regular file"});
  trained.refuses("train small.toml --set run.name=i --set 'init=[{module=\"theta\",from=\"/dev/null\"}]'",
                  {"init: from = \"/dev/null\" of module \"theta\"", "neither a safetensors file nor a run"});
  const std::string checkpoint = "runs/small/checkpoints/000000000008";
  for (const std::string& at : {checkpoint, checkpoint + "/"}) {
    trained.refuses("ema " + at + " --sigma-rel 0.07 --out a", {"It is a checkpoint; give its run, /", "runs/small\n"});
  }
}

TEST_CASE("a folder of the user's is not taken for a run, whatever lies in it") {
  const TrainedRun trained;
  shell(
      "mkdir -p mine/keep other/quickstart && cp -r runs/small/checkpoints/000000000008 mine/keep/copy && "
      "cp small.toml mine/config.toml && cp small.toml other/quickstart/config.toml",
      trained.path());
  trained.refuses("train --resume mine/keep/copy", {"is a checkpoint, but in the folder checkpoints/ of no run"});
  trained.refuses("train --resume mine", {"mine is not a run folder", "casdm train mine/config.toml"});
  trained.refuses("train small.toml --overwrite --set run.directory=. --set run.name=mine",
                  {"mine is not a run folder"});
  trained.refuses("quickstart --runs other", {"other/quickstart exists and is not the run of a quick start"});
  trained.refuses("train runs/small/config.toml --overwrite", {"from the run that --overwrite removes"});
  const Outcome same =
      shell("cmp small.toml mine/config.toml && cmp small.toml other/quickstart/config.toml", trained.path());
  CHECK_MESSAGE(same.status == 0, same.err);
}

TEST_CASE("commands in messages are quoted for the shell") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const std::string train =
      "casdm train small.toml --set train.total_images=7 --set log.sample_count=0 "
      "--set 'run.directory=\"my runs\"' --set run.name=\"it's\"";
  const Outcome trained = shell(train, folder.path());
  REQUIRE_MESSAGE(trained.status == 0, trained.err);
  const std::string name = R"('my runs/it'\''s')";
  CHECK_MESSAGE(trained.err.find("casdm sample " + name + " --num") != std::string::npos, trained.err);
  // All images of the last batch are counted.
  CHECK_MESSAGE(trained.err.find("100%  8/8 images") != std::string::npos, trained.err);
  const Outcome again = shell(train, folder.path());
  CHECK_MESSAGE(again.err.find("`casdm train --resume " + name + "`") != std::string::npos, again.err);
  CHECK(shell("casdm train --resume " + name, folder.path()).status == 0);
}

TEST_CASE("an average that the snapshots cannot represent gives a warning") {
  const TrainedRun trained;
  const Outcome near = trained.run("ema runs/small --sigma-rel 0.07 --out near.safetensors");
  CHECK_MESSAGE(near.err.find("its profile is off by ") != std::string::npos, near.err);
  CHECK_MESSAGE(near.err.find("warning") == std::string::npos, near.err);
  const Outcome far = trained.run("ema runs/small --sigma-rel 0.001 --out far.safetensors");
  CHECK_MESSAGE(
      far.err.find("warning: these snapshots cannot give an average of that width: choose a --sigma-rel nearer "
                   "to 0.05, 0.1") != std::string::npos,
      far.err);
}

TEST_CASE("running out of memory while networks are created gives one message") {
  const TrainedRun trained;
  const std::string large = " --set head.theta.channels=6144";
  const auto runs_out = [&](const std::string& command, const std::string& advice) {
    const Outcome outcome = shell("ulimit -v 3000000; casdm " + command + large, trained.path());
    CHECK_MESSAGE(outcome.status == 1, command << "\n" << outcome.err);
    CHECK_MESSAGE(outcome.out.empty(), outcome.out);
    CHECK_MESSAGE(outcome.err.starts_with("casdm: out of memory"), outcome.err);
    CHECK_MESSAGE(outcome.err.find(advice) != std::string::npos, outcome.err);
  };
  runs_out("train small.toml --dry-run", "smaller networks");
  runs_out("train small.toml --overwrite", "smaller networks");
  runs_out("sample runs/small --num 1 --out s", "");
  CHECK(fs::exists(trained.path() / "runs/small/checkpoints/000000000008"));
}
