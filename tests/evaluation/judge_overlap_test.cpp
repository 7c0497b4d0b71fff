#include <doctest/doctest.h>

#include "casdm/text.h"
#include "casdm/value.h"
#include "evaluation/evaluate_program.h"
#include "framework/support/files.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

TEST_CASE("a judge whose network the run was trained with is named in the table and in JSON") {
  const TemporaryFolder folder;
  write_small_config(folder.path(), "[[metrics]]\ntype = \"cells_loss\"\n" + kJudges + "is_trained = true\n");
  const Outcome train =
      shell("casdm train small.toml --set train.total_images=8 --set log.sample_count=0" + kPlugin, folder.path());
  REQUIRE_MESSAGE(train.status == 0, train.err);
  const Outcome table = evaluate("runs/small --num 8 --set evaluate.reference_num=20", folder.path());
  CHECK_MESSAGE(contains(table.out, "judged by a network it was trained with (metric.cells_loss)"),
                table.out << table.err);
  const Value json = json_of(evaluate("runs/small --num 8 --set evaluate.reference_num=20 --json", folder.path()));
  CHECK(entry_of(entry_of(evaluation(json), "scores").as_array().at(0), "trained_with") ==
        Value(Value::Array{"metric.cells_loss"}));
}

TEST_CASE("a network used in earlier training is named, after a resume and in a run that starts from those weights") {
  const TemporaryFolder folder;
  write_small_config(folder.path(), "[[metrics]]\ntype = \"cells_loss\"\n" + kJudges + "is_trained = true\n");
  const auto train = [&](const std::string& words) {
    const Outcome outcome = shell("casdm train " + words + " --set log.sample_count=0" + kPlugin, folder.path());
    REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  };
  const auto trained_with = [&](const std::string& run) {
    const Value json = json_of(evaluate(run + " --num 8 --set evaluate.reference_num=20 --json", folder.path()));
    return entry_of(entry_of(evaluation(json), "scores").as_array().at(0), "trained_with");
  };
  train("small.toml --set train.total_images=8");
  SUBCASE("removed") { train("--resume runs/small --set train.total_images=16 --set 'metrics=[]'"); }
  SUBCASE("given weight 0") { train("--resume runs/small --set train.total_images=16 --set metrics[1].weight=0"); }
  CHECK(trained_with("runs/small") == Value(Value::Array{"metric.cells_loss until 8 images"}));
  CHECK(trained_with("runs/small/checkpoints/000000000008") == Value(Value::Array{"metric.cells_loss"}));
  train(
      "small.toml --set run.name=student --set train.total_images=8 --set 'metrics=[]' "
      "--set 'init=[{module=\"theta\",from=\"runs/small\"}]'");
  const std::string source = fs::canonical(folder.path() / "runs/small").string();
  CHECK(trained_with("runs/student") == Value(Value::Array{text("metric.cells_loss until 8 images of ", source)}));
}

TEST_CASE("a judge is also named if the run's own features were aligned with its features, now or before") {
  const TemporaryFolder folder;
  write_small_config(folder.path(), kJudges + "is_trained = true\n");
  const std::string network = "type=\"unet\",channels=8,channel_mult=[1,2],groups=4";
  const std::string aligned = "head.alignment.extractor";
  const auto head = [&](const std::string& more) {
    return " --set 'head={type=\"single\",theta={" + network + "}" + more +
           "}' --set log.sample_count=0 --set metrics=[]";
  };
  const auto train = [&](const std::string& words) {
    const Outcome outcome = shell("casdm train " + words + kPlugin, folder.path());
    REQUIRE_MESSAGE(outcome.status == 0, outcome.err);
  };
  const auto trained_with = [&](const std::string& run) {
    const Value json = json_of(evaluate(run + " --num 8 --set evaluate.reference_num=20 --json", folder.path()));
    return entry_of(entry_of(evaluation(json), "scores").as_array().at(0), "trained_with");
  };
  train(
      "small.toml --set train.total_images=8 --set evaluate.every_images=8 --set evaluate.num=8 --set "
      "evaluate.reference_num=20" +
      head(",alignment={extractor={type=\"cells\",is_trained=true},projector_width=8}"));
  CHECK(trained_with("runs/small") == Value(Value::Array{aligned}));
  const std::string log = read_file(folder.path() / "runs/small/metrics.jsonl");
  CHECK_MESSAGE(contains(log, "judged by a network it was trained with (" + aligned + ")"), log);
  train(
      "small.toml --set run.name=student --set train.total_images=8 --set "
      "'init=[{module=\"theta\",from=\"runs/small\"}]'" +
      head(""));
  const std::string source = fs::canonical(folder.path() / "runs/small").string();
  CHECK(trained_with("runs/student") == Value(Value::Array{text(aligned, " of ", source)}));
}
