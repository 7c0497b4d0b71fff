#include <doctest/doctest.h>

#include <sstream>

#include "casdm/text.h"
#include "casdm/value.h"
#include "evaluation/evaluate_program.h"
#include "framework/support/files.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

const std::string kTrainingJudges =
    "[evaluate]\nevery_images = 8\nnum = 8\nreference_num = 40\nkeep_best = \"cells.gap\"\n"
    "[[evaluate.judges]]\ntype = \"cells\"\nmetrics = [{ type = \"moments_gap\" }]\n";

Outcome run_casdm(const std::string& words, const fs::path& folder) {
  return shell("CASDM_CACHE=cache casdm " + words + kPlugin, folder);
}

/// The evaluations in a log, by images, without times.
std::vector<std::pair<std::int64_t, std::string>> evaluations(const fs::path& run) {
  std::vector<std::pair<std::int64_t, std::string>> result;
  std::istringstream lines(read_file(run / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const Value record = from_json(line);
    if (const Value* evaluation = record.find("evaluation")) {
      result.emplace_back(record.find("images")->as_integer(), to_json(*evaluation));
    }
  }
  return result;
}

/// The lines with a rate that does not count the time between them that was no training.
int undisturbed_rates(const fs::path& run) {
  int result = 0;
  double images = 0, seconds = 0;
  std::istringstream lines(read_file(run / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const Value record = from_json(line);
    if (record.find("images_per_second") == nullptr) continue;
    const double images_now = record.find("images")->as_number(), seconds_now = record.find("seconds")->as_number();
    const double all = (images_now - images) / (seconds_now - seconds);
    if (images > 0 && record.find("images_per_second")->as_number() > 1.001 * all) ++result;
    images = images_now;
    seconds = seconds_now;
  }
  return result;
}

std::string weights_of(const fs::path& run, const std::string& checkpoint) {
  return sha256_of_file(run / "checkpoints" / checkpoint / "weights.safetensors");
}

}  // namespace

TEST_CASE("samples are judged and logged during training, which stays the same bit for bit") {
  const TemporaryFolder folder;
  write_small_config(folder.path(), kTrainingJudges);
  const Outcome judged = run_casdm("train small.toml --set log.sample_count=0", folder.path());
  REQUIRE_MESSAGE(judged.status == 0, judged.err);
  CHECK(undisturbed_rates(folder.path() / "runs/small") == 2);
  const Outcome plain = run_casdm(
      "train small.toml --set log.sample_count=0 --set run.name=plain --set evaluate.every_images=0 --set "
      "evaluate.keep_best=''",
      folder.path());
  REQUIRE_MESSAGE(plain.status == 0, plain.err);
  const fs::path run = folder.path() / "runs/small";
  CHECK(weights_of(run, "000000000024") == weights_of(folder.path() / "runs/plain", "000000000024"));
  const auto lines = evaluations(run);
  REQUIRE(lines.size() == 3);
  CHECK(lines[0].first == 8);
  CHECK(lines[2].first == 24);
  const Value first = from_json(lines[0].second);
  CHECK(*first.find("num") == Value(8));
  CHECK(*first.find("weights") == Value("ema"));
  CHECK(*first.find("is_best") == Value(true));
  CHECK(first.find("scores")->find("cells.gap")->find("value")->as_number() > 0);
  CHECK(evaluations(folder.path() / "runs/plain").empty());
}

TEST_CASE("the best checkpoint is kept beyond keep_last, and can be sampled") {
  const TemporaryFolder folder;
  write_small_config(folder.path(), kTrainingJudges);
  const Outcome train =
      run_casdm("train small.toml --set log.sample_count=0 --set checkpoint.keep_last=1", folder.path());
  REQUIRE_MESSAGE(train.status == 0, train.err);
  const fs::path run = folder.path() / "runs/small";
  double best = 0;
  std::int64_t images = -1;
  for (const auto& [seen, line] : evaluations(run)) {
    const double value = from_json(line).find("scores")->find("cells.gap")->find("value")->as_number();
    if (images >= 0 && value >= best) continue;
    best = value;
    images = seen;
  }
  const std::string name = fs::read_symlink(run / "checkpoints/best").string();
  CHECK(std::stoll(name) == images);
  CHECK(run_casdm("sample runs/small/checkpoints/best --num 1 --out s", folder.path()).status == 0);
  const Outcome evaluated = run_casdm("evaluate runs/small/checkpoints/best --num 4", folder.path());
  CHECK_MESSAGE(evaluated.status == 0, evaluated.err);
  // The mark of one that is gone is not passed to the next of that name, which nobody judged.
  fs::remove_all(run / "checkpoints" / name);
  REQUIRE(run_casdm("train --resume runs/small --set evaluate.keep_best='' --set train.total_images=32", folder.path())
              .status == 0);
  CHECK_FALSE(fs::exists(fs::symlink_status(run / "checkpoints/best")));
  // It is the folder of a run, and nothing in it prevents a new run of that name.
  CHECK(run_casdm("train small.toml --overwrite --set train.total_images=4 --set log.sample_count=0", folder.path())
            .status == 0);
}

TEST_CASE("scores measured differently after a resume do not compete with earlier ones") {
  const TemporaryFolder folder;
  write_small_config(folder.path(), kTrainingJudges);
  REQUIRE(run_casdm("train small.toml --set log.sample_count=0", folder.path()).status == 0);
  const fs::path run = folder.path() / "runs/small";
  const fs::path before = fs::read_symlink(run / "checkpoints/best");
  const std::string starts_again = "so the search for the best starts again: after the next evaluation ";
  const Outcome same = run_casdm("train --resume runs/small --set evaluate.every_images=1000", folder.path());
  REQUIRE_MESSAGE(same.status == 0, same.err);
  CHECK_FALSE(contains(same.err, starts_again));
  const Outcome other =
      run_casdm("train --resume runs/small --set train.total_images=28 --set evaluate.num=9", folder.path());
  REQUIRE_MESSAGE(other.status == 0, other.err);
  const std::string best = text("the best checkpoint so far, at ", std::stoll(before.string()), " images");
  CHECK_MESSAGE(contains(other.err, text("warning: the cells.gap of earlier checkpoints")), other.err);
  CHECK_MESSAGE(contains(other.err, starts_again + best), other.err);
  const auto lines = evaluations(run);
  REQUIRE(lines.size() == 4);
  CHECK(*from_json(lines[3].second).find("is_best") == Value(true));
  CHECK(*from_json(lines[2].second).find("measure") != *from_json(lines[3].second).find("measure"));
  CHECK(*from_json(lines[1].second).find("measure") == *from_json(lines[2].second).find("measure"));
  CHECK(fs::read_symlink(run / "checkpoints/best") == "000000000028");
  CHECK(before != "000000000028");
  // The score at 28 images, for 9 samples, is made lower than all others; those for 8 samples start anew.
  std::string log = read_file(run / "metrics.jsonl");
  const std::size_t value = log.find("\"value\":", log.rfind("\"images\":28")) + 8;
  log.replace(value, log.find(',', value) - value, "-1000");
  write_file(run / "metrics.jsonl", log);
  REQUIRE(
      run_casdm("train --resume runs/small --set train.total_images=32 --set evaluate.num=8", folder.path()).status ==
      0);
  CHECK(*from_json(evaluations(run).back().second).find("is_best") == Value(true));
  CHECK(fs::read_symlink(run / "checkpoints/best") == "000000000032");
}

TEST_CASE("the search for the best starts anew where the run no longer has that checkpoint") {
  const TemporaryFolder folder;
  write_small_config(folder.path(), kTrainingJudges);
  REQUIRE(run_casdm("train small.toml --set log.sample_count=0 --set train.total_images=8", folder.path()).status == 0);
  const fs::path run = folder.path() / "runs/small";
  std::string log = read_file(run / "metrics.jsonl");
  const std::size_t value = log.find("\"value\":", log.find("\"evaluation\"")) + 8;
  log.replace(value, log.find(',', value) - value, "-1000");  // no later score is as good
  write_file(run / "metrics.jsonl", log);
  SUBCASE("it was removed") {
    REQUIRE(
        run_casdm("train --resume runs/small --set train.total_images=12 --set evaluate.every_images=0", folder.path())
            .status == 0);
    fs::remove_all(run / "checkpoints/000000000008");
    fs::remove(run / "checkpoints/best");
    const Outcome resumed =
        run_casdm("train --resume runs/small --set train.total_images=16 --set evaluate.every_images=8", folder.path());
    REQUIRE_MESSAGE(resumed.status == 0, resumed.err);
    CHECK_MESSAGE(contains(resumed.err, "warning: the run no longer has its best checkpoint, at 8 images"),
                  resumed.err);
    CHECK(fs::read_symlink(run / "checkpoints/best") == "000000000016");
    // It has started again once, not at each resume.
    std::string later = read_file(run / "metrics.jsonl");
    const std::size_t at = later.find("\"value\":", later.rfind("\"evaluation\"")) + 8;
    later.replace(at, later.find(',', at) - at, "-500");
    write_file(run / "metrics.jsonl", later);
    const Outcome again = run_casdm("train --resume runs/small --set train.total_images=24", folder.path());
    REQUIRE_MESSAGE(again.status == 0, again.err);
    CHECK_MESSAGE(!contains(again.err, "no longer has its best checkpoint"), again.err);
    CHECK(fs::read_symlink(run / "checkpoints/best") == "000000000016");
    const Outcome other = run_casdm(
        "train --resume runs/small --set train.total_images=32 --set evaluate.keep_best=cells.overlap", folder.path());
    CHECK_MESSAGE(contains(other.err, "or another score chose the best"), other.err);
    CHECK_MESSAGE(contains(other.err, "the best checkpoint so far, at 16 images, is no longer kept"), other.err);
    CHECK(fs::read_symlink(run / "checkpoints/best") == "000000000032");
  }
  SUBCASE("a copy of it under another name is resumed and judged first") {
    write_file(run / "metrics.jsonl", "");  // the evaluation is made up for
    fs::rename(run / "checkpoints/000000000008", run / "checkpoints/keep");
    fs::remove(run / "checkpoints/best");
    for (int time = 0; time < 2; ++time) {
      const Outcome resumed = run_casdm("train --resume runs/small/checkpoints/keep", folder.path());
      REQUIRE_MESSAGE(resumed.status == 0, resumed.err);
      CHECK(fs::read_symlink(run / "checkpoints/best") == "000000000008");
    }
  }
}

TEST_CASE("the search for the best starts anew when a resume draws samples differently") {
  for (const std::string change :
       {"sampler.clip=none", "guidance.interval=[0.0,0.5]", "sampler.num_inference_steps=3"}) {
    INFO(change);
    const TemporaryFolder folder;
    write_small_config(folder.path(), kTrainingJudges);
    REQUIRE(run_casdm("train small.toml --set log.sample_count=0 --set train.total_images=8", folder.path()).status ==
            0);
    const fs::path log = folder.path() / "runs/small/metrics.jsonl";
    // No later score is as good as this.
    std::string written = read_file(log);
    const std::size_t value = written.find("\"value\":", written.find("\"evaluation\"")) + 8;
    written.replace(value, written.find(',', value) - value, "-1000");
    write_file(log, written);
    const Outcome resumed =
        run_casdm("train --resume runs/small --set train.total_images=16 --set '" + change + "'", folder.path());
    REQUIRE_MESSAGE(resumed.status == 0, resumed.err);
    CHECK(*from_json(evaluations(folder.path() / "runs/small").back().second).find("is_best") == Value(true));
    CHECK(fs::read_symlink(folder.path() / "runs/small/checkpoints/best") == "000000000016");
  }
}

TEST_CASE("a training stopped between evaluations continues with the same ones") {
  const TemporaryFolder folder;
  write_small_config(folder.path(), kTrainingJudges);
  REQUIRE(run_casdm("train small.toml --set log.sample_count=0 --set run.name=whole", folder.path()).status == 0);
  REQUIRE(run_casdm("train small.toml --set log.sample_count=0 --set train.total_images=12", folder.path()).status ==
          0);
  REQUIRE(run_casdm("train --resume runs/small --set train.total_images=24", folder.path()).status == 0);
  const fs::path whole = folder.path() / "runs/whole", run = folder.path() / "runs/small";
  CHECK(weights_of(run, "000000000024") == weights_of(whole, "000000000024"));
  auto expected = evaluations(whole), got = evaluations(run);
  std::erase_if(got, [](const auto& line) { return line.first == 12; });  // the end of the first part
  REQUIRE(got.size() == expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    const Value a = from_json(got[i].second), b = from_json(expected[i].second);
    CHECK(*a.find("scores") == *b.find("scores"));
  }
}

TEST_CASE("an evaluation that is missing at the end is made up for at a resume") {
  const TemporaryFolder folder;
  write_small_config(folder.path(), kTrainingJudges);
  REQUIRE(run_casdm("train small.toml --set log.sample_count=0", folder.path()).status == 0);
  const fs::path log = folder.path() / "runs/small/metrics.jsonl";
  const auto before = evaluations(folder.path() / "runs/small");
  std::string content = read_file(log);
  const std::size_t last = content.rfind("{\"images\":24");
  REQUIRE(contains(content.substr(last), "evaluation"));
  write_file(log, content.substr(0, last));
  const Outcome resumed = run_casdm("train --resume runs/small", folder.path());
  REQUIRE_MESSAGE(resumed.status == 0, resumed.err);
  CHECK(evaluations(folder.path() / "runs/small") == before);
}

TEST_CASE("errors in [evaluate] are reported before the first step") {
  const TemporaryFolder folder;
  write_small_config(folder.path(), kTrainingJudges);
  const auto refused = [&](const std::string& setting, int status, const std::string& part) {
    const Outcome outcome = run_casdm("train small.toml --set " + setting, folder.path());
    CHECK_MESSAGE(outcome.status == status, outcome.err);
    CHECK_MESSAGE(contains(outcome.err, part), outcome.err);
    CHECK_FALSE(fs::exists(folder.path() / "runs/small"));
  };
  refused("evaluate.keep_best=cells.gat", 2, "did you mean cells.gap? There are ");
  refused("evaluate.keep_best=unlike", 2, "there is no score \"unlike\". There are ");
  refused("evaluate.judges[0].fault=no_weights", 1, "no_such_judge.safetensors");
  refused("evaluate.num=1", 2, "needs at least 2 images");
  refused("evaluate.reference=nothing", 2, "does not exist");
  for (const char* setting : {"evaluate.keep_best=gap", "evaluate.reference=nothing", "evaluate.num=1"}) {
    const Outcome dry = run_casdm(text("train small.toml --dry-run --set ", setting), folder.path());
    CHECK_MESSAGE(dry.status == 2, setting);
  }
}

TEST_CASE("the pilot of a sweep judges no samples, but makes the judges") {
  const TemporaryFolder folder;
  write_small_config(folder.path(), kTrainingJudges);
  write_file(folder.path() / "sweep.toml",
             "name = \"s\"\nbase = \"small.toml\"\nseeds = [0]\n[[arms]]\nname = \"a\"\n");
  const std::string plan = "sweep sweep.toml --dry-run --set train.total_images=100k";
  const Outcome judged =
      shell("CASDM_CACHE=cache casdm " + plan + kPlugin +
                " & while kill -0 $!; do cp runs/.tmp-*/pilot/metrics.jsonl .; sleep 0.05; done 2>/dev/null; wait $!",
            folder.path());
  CHECK_MESSAGE(contains(judged.out, "1 run to do: about "), judged.out << judged.err);
  const std::string log = read_file(folder.path() / "metrics.jsonl");
  CHECK(contains(log, "\"images\":16,"));
  CHECK_FALSE(contains(log, "\"evaluation\""));
  const Outcome lost = run_casdm(plan + " --set evaluate.judges[0].fault=no_weights", folder.path());
  CHECK_MESSAGE(contains(lost.out, "cannot be trained"), lost.out << lost.err);
}
