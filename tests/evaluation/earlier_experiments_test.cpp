#include "framework/evaluation/earlier_experiments.h"

#include <doctest/doctest.h>

#include "casdm/text.h"
#include "framework/config/document.h"
#include "framework/support/files.h"
#include "support/components.h"

using namespace casdm;
using casdm::testing::TemporaryFolder;
namespace fs = std::filesystem;

TEST_CASE("before a resume an option has its old value, and is absent where it was") {
  const TemporaryFolder folder;
  write_file(folder.path() / "metrics.jsonl",
             "{\"images\":8}\n"
             "{\"resumed\":true,\"images\":8,\"changed\":{\"optimizer.rate\":{\"from\":5,\"to\":7}}}\n"
             "{\"resumed\":true,\"images\":8,\"changed\":{"
             "\"metrics[0].softness\":{\"from\":null,\"to\":0.5},\"metrics[0].epsilon\":{\"from\":0.1,\"to\":null},"
             "\"metrics[0].weight\":{\"from\":1,\"to\":2},\"optimizer.phi\":{\"from\":null,\"to\":{\"rate\":1}}}}\n"
             "{\"images\":16}\n");
  const Value now = parse_document(
      "metrics = [{ type = \"gap\", weight = 2, softness = 0.5 }]\n[optimizer]\nrate = 3\nphi = { rate = 1 }\n", "now",
      folder.path());
  std::vector<std::string> remarks;
  const std::vector<EarlierExperiment> earlier = earlier_experiments(folder.path(), now, remarks, 16);
  REQUIRE(earlier.size() == 1);
  CHECK(remarks.empty());
  CHECK(earlier[0].when == "until 8 images");
  CHECK(earlier[0].experiment == parse_document("metrics = [{ type = \"gap\", weight = 1, epsilon = 0.1 }]\n"
                                                "[optimizer]\nrate = 3\n",
                                                "then", folder.path()));
}

TEST_CASE("a run that names itself, in many spellings and with many resumes, is followed once and within limits") {
  const TemporaryFolder folder;
  const fs::path run = folder.path() / "run";
  fs::create_directory(run);
  write_file(run / "config.toml", "[run]\nname = \"run\"\n");
  std::string log, init;
  for (int i = 1; i <= 1000; ++i) {
    log += text("{\"resumed\":true,\"images\":", i, ",\"changed\":{\"run.seed\":{\"from\":", i, ",\"to\":0}}}\n");
  }
  std::string spelling = run.string();
  for (int i = 0; i < 20; ++i) {
    spelling += "/../run";
    init += text(i == 0 ? "" : ",", "\"m", i, "\":{\"file\":\"", spelling, "/weights.safetensors\"}");
  }
  write_file(run / "metrics.jsonl", log);
  write_file(run / "init.json", "{" + init + "}");
  const Value now = load_document(run / "config.toml");
  std::vector<std::string> remarks;
  SUBCASE("spellings") {
    CHECK(earlier_experiments(run, now, remarks, 11).size() == 11);
    CHECK(remarks.empty());
  }
  SUBCASE("resumes") {
    CHECK(earlier_experiments(run, now, remarks).size() == 256);
    REQUIRE(remarks.size() == 1);
    CHECK_MESSAGE(remarks[0].find("more earlier experiments than are looked at") != std::string::npos, remarks[0]);
  }
}

TEST_CASE("of two checkpoints of one run, the experiments of both and the resumes before the later one count") {
  const TemporaryFolder folder;
  const fs::path teacher = folder.path() / "teacher", run = folder.path() / "run";
  fs::create_directory(teacher);
  fs::create_directory(run);
  write_file(teacher / "config.toml", "a = 9\n");
  write_file(teacher / "metrics.jsonl",
             "{\"resumed\":true,\"images\":8,\"changed\":{\"a\":{\"from\":1,\"to\":2}}}\n"
             "{\"resumed\":true,\"images\":16,\"changed\":{\"a\":{\"from\":2,\"to\":9}}}\n");
  std::string init;
  for (const auto& [module, images, a] : {std::tuple("phi", 8, 1), std::tuple("theta", 16, 2)}) {
    const fs::path checkpoint = teacher / "checkpoints" / text(images < 10 ? "0" : "", images);
    fs::create_directories(checkpoint);
    write_file(checkpoint / "state.json",
               text("{\"config\":{\"a\":", a, "},\"files\":{\"phi.safetensors\":{\"sha256\":\"of ", a, "\"}}}"));
    init += text(init.empty() ? "" : ",", "\"", module, "\":{\"images\":", images, ",\"file\":\"",
                 (checkpoint / "phi.safetensors").string(), "\",\"sha256\":\"of ", a, "\"}");
  }
  write_file(run / "metrics.jsonl", "");
  write_file(run / "init.json", "{" + init + "}");
  const std::string of = text("of ", fs::canonical(teacher).string());
  std::vector<std::string> remarks;
  const auto find = [&] {
    remarks.clear();
    std::vector<std::string> found;
    for (const EarlierExperiment& earlier : earlier_experiments(run, {}, remarks)) {
      found.push_back(text(earlier.when, ": ", earlier.experiment.find("a")->as_integer()));
    }
    return found;
  };
  const std::vector<std::string> expected = {of + ": 1", of + ": 2", text("until 8 images ", of, ": 1")};
  CHECK(find() == expected);
  // A checkpoint that was set aside is found there; one that another has replaced is not known.
  const std::string state_16 = read_file(teacher / "checkpoints/16/state.json");
  write_file(teacher / "checkpoints/16/state.json",
             "{\"config\":{\"a\":7},\"files\":{\"phi.safetensors\":{\"sha256\":\"other\"}}}");
  CHECK(find() == std::vector<std::string>{of + ": 1"});
  CHECK(remarks.size() == 1);
  CHECK(remarks[0].starts_with("the run took weights " + of + ", which went another way since"));
  fs::create_directories(teacher / "set-aside-1/checkpoints/16");
  write_file(teacher / "set-aside-1/checkpoints/16/state.json", state_16);
  CHECK(find() == expected);
  CHECK(remarks.empty());
  // Of checkpoints that are gone, config.toml says it, without the resumes since.
  fs::remove_all(teacher / "set-aside-1");
  fs::remove_all(teacher / "checkpoints");
  CHECK(find() == expected);
}
