#include <doctest/doctest.h>

#include "casdm/value.h"
#include "framework/support/files.h"
#include "integration/program.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

TEST_CASE("train and sample leave a self-explanatory run") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const Outcome train = shell("casdm train small.toml", folder.path());
  REQUIRE_MESSAGE(train.status == 0, train.err);
  CHECK(train.out == "runs/small\n");
  const fs::path run = folder.path() / "runs" / "small";
  CHECK(fs::exists(run / "config.toml"));
  CHECK(fs::exists(run / "metrics.jsonl"));
  CHECK(fs::exists(run / "samples" / "24.png"));
  CHECK(fs::exists(run / "checkpoints" / "000000000024" / "state.json"));

  // The resolved config is itself a valid experiment.
  CHECK(shell("casdm config check runs/small/config.toml", folder.path()).status == 0);

  const Outcome sample = shell("casdm sample runs/small --num 6 --batch 6 --out a", folder.path());
  REQUIRE_MESSAGE(sample.status == 0, sample.err);
  CHECK(sample.out == "a/grid.png\n");
  for (const char* file : {"000000.png", "000005.png", "grid.png", "samples.npz"})
    CHECK(fs::exists(folder.path() / "a" / file));
  CHECK_FALSE(fs::exists(folder.path() / "a" / "000006.png"));

  // Another sampler, other steps, raw weights.
  const Outcome other = shell("casdm sample runs/small --num 2 --out b --sampler ddpm --weights raw", folder.path());
  CHECK_MESSAGE(other.status == 0, other.err);
  const Outcome steps = shell("casdm sample runs/small --num 2 --out c --steps 3 --eta 0.5", folder.path());
  CHECK_MESSAGE(steps.status == 0, steps.err);
  CHECK(shell("casdm sample runs/small --num 2 --out a", folder.path()).status == 2);
  const auto refuses = [&](const std::string& words, const std::string& expected) {
    const Outcome outcome = shell("casdm sample runs/small --num 2 --out d " + words, folder.path());
    CHECK_MESSAGE(outcome.status == 2, words << "\n" << outcome.err);
    CHECK_MESSAGE(outcome.err.find(expected) != std::string::npos, words << "\n" << outcome.err);
    CHECK_FALSE(fs::exists(folder.path() / "d"));
  };
  refuses("--steps 0", "sampler.num_inference_steps: expected an integer in 1..1000000, got 0");
  refuses("--steps -5", "sampler.num_inference_steps");
  refuses("--steps ''", "sample: --steps is empty; give a value, or leave the option out");
  refuses("--sampler ddpm --steps -1", "sampler.num_inference_steps");
  refuses("--eta -1", "sampler.eta");
  refuses("--eta nan", "sampler.eta");
  refuses("--guidance ''", "--guidance is empty");
  refuses("--sampler ''", "--sampler is empty");
  refuses("--label 0", "--label 0: the run has 0 classes");

  // A complete run has nothing to resume, and can be extended.
  const Outcome again = shell("casdm train --resume runs/small", folder.path());
  CHECK(again.status == 0);
  CHECK(again.err.find("complete") != std::string::npos);
  const Outcome longer = shell("casdm train --resume runs/small --set train.total_images=32", folder.path());
  CHECK_MESSAGE(longer.status == 0, longer.err);
  CHECK(fs::exists(run / "checkpoints" / "000000000032" / "state.json"));
}

TEST_CASE("an interrupted run saves, says how to continue, and ends with status 0") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const Outcome stopped = shell(
      "casdm train small.toml --set train.total_images=100M & p=$!\n"
      "while [ ! -s runs/small/metrics.jsonl ]; do sleep 0.1; done\nkill -TERM $p; wait $p",
      folder.path());
  CHECK_MESSAGE(stopped.status == 0, stopped.err);
  CHECK(stopped.err.find("casdm train --resume runs/small") != std::string::npos);
}

TEST_CASE("config check --json says whether an experiment is valid, with its components or the problem") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const Outcome good = shell("casdm config check small.toml --json", folder.path());
  CHECK(good.status == 0);
  const Value valid = from_json(good.out);
  CHECK(valid.find("valid")->as_boolean());
  CHECK(valid.find("components")->find("data")->as_string() == "dataset_shapes/shapes");
  const Outcome bad = shell("casdm config check small.toml --json --set data.image_size=0", folder.path());
  CHECK(bad.status == 2);
  const Value refused = from_json(bad.out);
  CHECK_FALSE(refused.find("valid")->as_boolean());
  CHECK(refused.find("problem")->as_string().find("data.image_size: ") != std::string::npos);
  const Outcome without = shell("casdm config check small.toml --json --plugin none.so", folder.path());
  CHECK(without.status == 1);
  CHECK(from_json(without.out).find("problem")->as_string().find("none.so") != std::string::npos);
  const Outcome none = shell("casdm config check --json", folder.path());
  CHECK(none.status == 2);
  CHECK_MESSAGE(none.err.find("file is missing") != std::string::npos, none.err);
}

TEST_CASE("what an experiment says about plugins cannot control the terminal") {
  const TemporaryFolder folder;
  for (const auto& [name, noise] : {std::pair("a", "\\u001b[31mlinear\\nfake"), std::pair("b", "linear")}) {
    const fs::path run = folder.path() / name;
    fs::create_directory(run);
    write_file(run / "config.toml", text("[run]\nname = \"", name, "\"\nseed = 0\n[train]\ntotal_images = 8\n[noise]\n",
                                         "type = \"", noise, "\"\n"));
    write_file(run / "metrics.jsonl", R"({"images":8,"step":1,"seconds":1,"loss":{"eps":{"mean":1,"by_t":[1]}}})"
                                      "\n");
  }
  const Outcome compared = shell("casdm compare a b", folder.path());
  CHECK_MESSAGE(compared.out.find("\\x1b[31mlinear\\nfake") != std::string::npos, compared.out << compared.err);
  CHECK(compared.out.find('\x1b') == std::string::npos);
  write_small_config(folder.path(), "[plugins]\npaths = [\"/x\\u001b]0;title\\u0007\"]\n");
  for (const char* command : {"plugins list", "plugins doctor"}) {
    const Outcome outcome = shell(std::string("casdm ") + command + " --config small.toml", folder.path());
    CHECK_MESSAGE(outcome.out.find("title") != std::string::npos, outcome.out << outcome.err);
    CHECK((outcome.out + outcome.err).find('\x1b') == std::string::npos);
  }
}

TEST_CASE("a training begins with what it will do, and ends with what to do next") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const Outcome first = shell("casdm train small.toml --set train.total_images=8", folder.path());
  REQUIRE_MESSAGE(first.status == 0, first.err);
  for (const char* line : {"data: 10000 images, 5 classes\n", "device: cpu; ", "networks: theta (",
                           "metrics: l1 (weight ", "steps: 2, each of 4 images, in runs/small\n",
                           "casdm sample runs/small ", "casdm evaluate runs/small\n", "casdm report runs/small\n"}) {
    CHECK_MESSAGE(first.err.find(line) != std::string::npos, line << first.err);
  }
  const Outcome second = shell("casdm train --resume runs/small --set train.total_images=20", folder.path());
  CHECK_MESSAGE(second.err.find("steps: 3 more, each of 4 images, in runs/small\n") != std::string::npos, second.err);
}

TEST_CASE("an experiment that comes with casdm is found wherever the command is typed") {
  const TemporaryFolder folder;
  const Outcome outcome = shell("casdm config check configs/quickstart.toml", folder.path());
  CHECK_MESSAGE(outcome.status == 0, outcome.err);
  CHECK_MESSAGE(
      outcome.err.find("there is no configs/quickstart.toml here; using the one that comes with casdm: ") == 0,
      outcome.err);
  CHECK(shell("casdm config check configs/none.toml", folder.path()).status == 2);
  CHECK(shell("casdm sweep configs/study/quick.toml --print", folder.path()).status == 0);
}

TEST_CASE("a dry run creates everything and writes nothing") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const Outcome outcome = shell("casdm train small.toml --dry-run", folder.path());
  CHECK_MESSAGE(outcome.status == 0, outcome.err);
  CHECK(outcome.out.find("networks: theta (") != std::string::npos);
  CHECK(outcome.out.find("data: 10000 images, 5 classes\n") != std::string::npos);
  CHECK_FALSE(fs::exists(folder.path() / "runs"));
}

TEST_CASE("a dry run says what a step costs, unless it is told not to") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const Outcome outcome = shell("casdm train small.toml --dry-run", folder.path());
  for (const char* words :
       {"cost of a step of 4 images in fp32 on cpu", "multiply-adds", "  memory: ", "metric.l1", " images/s"})
    CHECK_MESSAGE(contains(outcome.out, words), outcome.out);
  const Outcome unfit = shell(
      "casdm train small.toml --dry-run --set 'sampler={type=\"ddpm\",num_inference_steps=3,"
      "variance=\"learned_range\"}'",
      folder.path());
  CHECK(unfit.status == 2);
  CHECK_MESSAGE(contains(unfit.err, "variance = \"learned_range\", but the head predicts no variance"), unfit.err);
  const Outcome without = shell("casdm train small.toml --dry-run --no-cost", folder.path());
  CHECK(without.status == 0);
  CHECK_FALSE(contains(without.out, "cost of a step"));
  CHECK(shell("casdm train small.toml --no-cost", folder.path()).status == 2);
  const Outcome elsewhere = shell("casdm train small.toml --dry-run --set run.device=cuda:99", folder.path());
  CHECK_MESSAGE(elsewhere.status == 0, elsewhere.err);
  CHECK_MESSAGE(contains(elsewhere.out, "the cost of a step cannot be measured here: "), elsewhere.out);
  CHECK_FALSE(fs::exists(folder.path() / "runs"));
}

TEST_CASE("config check says what a step costs when it is asked, for people or for programs, and writes nothing") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const Outcome plain = shell("casdm config check small.toml", folder.path());
  CHECK_FALSE(contains(plain.out, "cost of a step"));
  const Outcome asked = shell("casdm config check small.toml --cost --set train.batch_size=2", folder.path());
  CHECK_MESSAGE(asked.status == 0, asked.err);
  CHECK(contains(asked.out, "small.toml is valid\n"));
  CHECK_MESSAGE(contains(asked.out, "cost of a step of 2 images"), asked.out);
  const Outcome json = shell("casdm config check small.toml --cost --json", folder.path());
  const Value cost = from_json(json.out);
  CHECK(cost.find("batch_size")->as_integer() == 4);
  CHECK(cost.find("parts")->find("theta")->find("multiply_adds_forward")->as_integer() > 0);
  CHECK(cost.find("memory_bytes")->find("total")->as_integer() > (1 << 20));
  CHECK(shell("casdm config check small.toml --cost --set train.batch_size=0", folder.path()).status == 2);
  CHECK(shell("ls -A | grep -v '^[.]std'", folder.path()).out == "small.toml\n");
}

TEST_CASE("a run records the precision that was chosen for it, and its resume measures nothing") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const std::string cached = "XDG_CACHE_HOME=$PWD/cache casdm train ";
  const Outcome run = shell(cached + "small.toml --set run.precision=auto", folder.path());
  REQUIRE_MESSAGE(run.status == 0, run.err);
  CHECK_MESSAGE(contains(run.err, "run.precision = \"auto\": "), run.err);
  const std::string config = read_file(folder.path() / "runs" / "small" / "config.toml");
  CHECK_FALSE(contains(config, "precision = \"auto\""));
  const Outcome resume = shell(cached + "--resume runs/small --set train.total_images=32", folder.path());
  CHECK_MESSAGE(resume.status == 0, resume.err);
  CHECK_FALSE(contains(resume.err, "run.precision = \"auto\""));
}

TEST_CASE("a dry run opens the data and says what it leaves out") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const std::string images =
      "casdm train small.toml --dry-run --no-cost --set 'data={type=\"folder\", path=\"images\", image_size=16}'";
  const Outcome missing = shell(images, folder.path());
  CHECK(missing.status == 2);
  CHECK_MESSAGE(missing.err.find("/images\" does not exist") != std::string::npos, missing.err);
  const Outcome there = shell("mkdir images && echo > images/a.PNG && echo > images/b.gif && " + images, folder.path());
  CHECK_MESSAGE(there.status == 0, there.err);
  CHECK_MESSAGE(there.out.find("data: 1 image; 1 other file left out (.gif)\n") != std::string::npos, there.out);
}

TEST_CASE("every command has a help text") {
  const TemporaryFolder folder;
  for (const char* command : {"--help", "train --help", "sample --help", "data --help", "ema --help", "import --help",
                              "export --help", "config --help", "config check --help", "config show --help",
                              "config init --help", "plugins --help", "plugins list --help"}) {
    const Outcome outcome = shell(std::string("casdm ") + command, folder.path());
    CHECK_MESSAGE(outcome.status == 0, command);
    CHECK_MESSAGE(outcome.out.find("usage: casdm") != std::string::npos, command);
    CHECK_MESSAGE(outcome.err.empty(), command);
  }
  const Outcome typo = shell("casdm trian x.toml", folder.path());
  CHECK(typo.status == 2);
  CHECK(typo.err.find("did you mean 'train'") != std::string::npos);
}
