#include "framework/training/initial_weights.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <iostream>
#include <sstream>

#include "casdm/error.h"
#include "casdm/safetensors.h"
#include "framework/support/files.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

/// An experiment whose theta starts from `from`.
LoadedExperiment experiment_from(const fs::path& folder, const std::string& from) {
  return small_experiment(folder, "run", single_head() + "[[init]]\nmodule = \"theta\"\nfrom = \"" + from + "\"\n");
}

/// The weights that theta gets.
NamedTensors loaded(const LoadedExperiment& experiment, const fs::path& record) {
  const Model model = make_model(experiment, 0);
  load_initial_weights(model, experiment, record);
  return state(model.module("theta"));
}

bool are_equal(const NamedTensors& a, const NamedTensors& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!at::equal(a[i].second, b[i].second)) return false;
  }
  return true;
}

}  // namespace

TEST_CASE("a run that begins again starts from the weights it used first, even if their run was trained further") {
  const TemporaryFolder folder;
  const fs::path record = folder.path() / "init.json";
  const std::string source = (folder.path() / "source").string();
  const Checkpoint at_32 = run(small_experiment(folder.path(), "source", single_head()));
  const LoadedExperiment experiment = experiment_from(folder.path(), source);
  const NamedTensors first = loaded(experiment, record);
  const Value taken = *from_json(read_file(record)).find("theta");
  CHECK(taken.find("images")->as_integer() == 32);
  CHECK(taken.find("file")->as_string() == at_32.file("ema").string());
  CHECK(taken.find("sha256")->as_string() == sha256_of_file(at_32.file("ema")));

  resume(small_experiment(folder.path(), "source", single_head(), {"train.total_images=48"}), at_32);
  CHECK(are_equal(loaded(experiment, record), first));
  CHECK_FALSE(are_equal(loaded(experiment, ""), first));

  SUBCASE("and refuses if they are gone") {
    const std::string before = read_file(record);
    fs::remove_all(at_32.path());
    CHECK_THROWS_WITH_AS(loaded(experiment, record), doctest::Contains("holds other weights now"), Error);
    CHECK(read_file(record) == before);
  }
  SUBCASE("and uses others on request") {
    const std::string newest = source + "/checkpoints/000000000048";
    CHECK_FALSE(are_equal(loaded(experiment_from(folder.path(), newest), record), first));
    CHECK(from_json(read_file(record)).find("theta")->find("images")->as_integer() == 48);
  }
  SUBCASE("and reports what is wrong with an unreadable record") {
    for (const char* damaged : {"{", "[]", "{\"theta\": 1}", "{\"theta\": {\"from\": \"x\"}}"}) {
      write_file(record, damaged);
      CHECK_THROWS_WITH_AS(loaded(experiment, record), doctest::Contains("init.json"), Error);
    }
  }
}

TEST_CASE("a run that begins again refuses a file of weights that has changed") {
  const TemporaryFolder folder;
  const fs::path record = folder.path() / "init.json", file = folder.path() / "theta.safetensors";
  const Checkpoint source = run(small_experiment(folder.path(), "source", single_head()));
  write_safetensors(file, source.weights("theta", "ema"));
  const LoadedExperiment experiment = experiment_from(folder.path(), file.string());
  const NamedTensors first = loaded(experiment, record);
  CHECK(are_equal(loaded(experiment, record), first));

  const std::string content = read_file(file);
  write_safetensors(file, source.weights("theta", "raw"));
  CHECK_THROWS_WITH_AS(loaded(experiment, record), doctest::Contains("put that file back"), Error);
  write_file(file, content);
  CHECK(are_equal(loaded(experiment, record), first));
}

TEST_CASE("weights for a running average are refused, since it starts with its module's own") {
  const TemporaryFolder folder;
  const Checkpoint source = run(small_experiment(folder.path(), "source", single_head()));
  const std::string network = single_head().substr(single_head().find("[head.theta]"));
  const auto of = [&](const std::string& module, const std::string& more) {
    return small_experiment(folder.path(), "of_" + module,
                            "[head]\ntype = \"consistency\"\n" + network + "[[init]]\nmodule = \"" + module +
                                "\"\nfrom = \"" + (folder.path() / "source").string() + "\"\n" + more,
                            {"optimizer.learning_rate=1e-30"});
  };
  for (const char* more : {"", "freeze = true\n"}) {
    const LoadedExperiment experiment = of("teacher", more);
    CHECK_THROWS_WITH_AS(initial_modules(make_model(experiment, 0), experiment.options),
                         doctest::Contains("\"teacher\" is the running average of \"theta\""), ConfigError);
    CHECK_THROWS_WITH_AS(loaded(experiment, ""), doctest::Contains("give \"theta\" the weights"), ConfigError);
  }
  const auto given = tensors(source, "ema.safetensors");
  const auto trained = tensors(run(of("theta", "")), "weights.safetensors");
  for (const auto& [name, tensor] : given) {
    CHECK_MESSAGE(at::allclose(trained.at("teacher" + name.substr(5)), tensor, 1e-6), name);
  }
}

TEST_CASE("weights that are infinite, or only in float32, are named") {
  const TemporaryFolder folder;
  const Model model = make_model(small_experiment(folder.path(), "run", single_head()), 0);
  NamedTensors weights;
  for (const auto& [name, tensor] : state(model.module("theta"))) weights.emplace_back(name, tensor.to(at::kDouble));
  weights[2].second = at::full_like(weights[2].second, 1e300);
  const std::string file = (folder.path() / "large.safetensors").string();
  write_safetensors(file, weights);
  const std::ostringstream said;
  std::streambuf* const before = std::cerr.rdbuf(said.rdbuf());
  loaded(experiment_from(folder.path(), file), "");
  std::cerr.rdbuf(before);
  CHECK_MESSAGE(
      said.str().find("the tensor \"" + weights[2].first + "\" holds numbers that are infinite") != std::string::npos,
      said.str());
}
