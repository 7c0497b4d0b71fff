#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "casdm/error.h"
#include "casdm/safetensors.h"
#include "framework/support/files.h"
#include "framework/training/module_optimizer.h"
#include "support/messages.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

/// Steps against the gradient, except for parameters whose name contains `passed_over`.
class Careless final : public Optimizer {
 public:
  Careless(Spec spec, std::string passed_over) : spec_(std::move(spec)), passed_over_(std::move(passed_over)) {}
  void step(const OptimizerStep& step) override {
    for (const OptimizedParameter& parameter : spec_.parameters) {
      if (parameter.name.find(passed_over_) != std::string::npos) continue;
      parameter.weight.sub_(parameter.gradient, step.learning_rate);
    }
  }

 private:
  Spec spec_;
  std::string passed_over_;
};

Optimizer::Spec large_parameters() {
  return flat_parameters({{"conv.weight", at::zeros({64, 32, 3, 3})},
                          {"conv.bias", at::zeros({64})},
                          {"norm.weight", at::zeros({64})},
                          {"empty", at::zeros({0, 4})}},
                         c10::Device(c10::kCPU));
}

/// The smallest training of Cas-DM whose [optimizer] is `toml`.
LoadedExperiment experiment(const std::filesystem::path& folder, const std::string& name, const std::string& toml,
                            const std::vector<std::string>& overrides = {}) {
  std::vector<std::string> all = {"train.total_images=16", "checkpoint.every_images=8"};
  all.insert(all.end(), overrides.begin(), overrides.end());
  return small_experiment(folder, name, cascade_head() + toml, all);
}

}  // namespace

TEST_CASE("parameters are consecutive in flat tensors, each at the start of a cache line, as views") {
  const Optimizer::Spec spec = large_parameters();
  REQUIRE(spec.parameters.size() == 4);
  CHECK(spec.parameters[1].offset == 64 * 32 * 9);
  CHECK(spec.parameters[2].offset == spec.parameters[1].offset + 64);
  CHECK(spec.parameters[0].role == ParameterRole::convolution);
  CHECK(spec.parameters[1].role == ParameterRole::bias);
  spec.parameters[1].weight.fill_(1);
  spec.parameters[1].gradient.fill_(2);
  CHECK(spec.weights.sum().item<double>() == 64);
  CHECK(spec.gradients.sum().item<double>() == 128);
}

TEST_CASE("an optimizer that leaves a parameter unchanged is refused before training, with the parameter's name") {
  const Optimizer::Spec small = small_stand_ins(large_parameters());
  REQUIRE(small.parameters.size() == 4);
  CHECK(small.parameters[0].weight.sizes() == at::IntArrayRef({4, 4, 3, 3}));
  CHECK(small.parameters[0].role == ParameterRole::convolution);
  CHECK(left_as_they_are(Component<Optimizer>(std::make_shared<Careless>(small, "nothing")), small).empty());
  CHECK(left_as_they_are(Component<Optimizer>(std::make_shared<Careless>(small, "conv")), small) ==
        std::vector<std::string>{"conv.weight", "conv.bias"});

  const TemporaryFolder folder;
  for (const auto& [fault, tensor] :
       {std::pair("set_data", "weights"), std::pair("late_set", "weights"), std::pair("resized_gradients", "gradients"),
        std::pair("own_parameter", "weight of ")}) {
    const std::string said = message_of_run(experiment(
        folder.path(), fault, std::string("[optimizer.phi]\ntype = \"replacing\"\nfault = \"") + fault + "\"\n"));
    CHECK_MESSAGE(contains(said, std::string("optimizers_broken/replacing: ")), said);
    CHECK_MESSAGE(contains(said, std::string("a step gives its tensor \"") + tensor), said);
  }
  for (const auto& [fault, words] :
       {std::pair("counts_and_leaves", "whole_step() returned false, but has changed weights, gradients, averages or"),
        std::pair("does_nothing", "whole_step() does not move the weights of phi."),
        std::pair("forgets_an_average", "whole_step() does not move the averages of phi."),
        std::pair("keeps_gradients", "whole_step() does not set the gradients of phi.")}) {
    const std::string said = message_of_run(experiment(
        folder.path(), fault, std::string("[optimizer.phi]\ntype = \"one_pass\"\nfault = \"") + fault + "\"\n"));
    CHECK_MESSAGE(contains(said, std::string("optimizers_broken/one_pass: ")), said);
    CHECK_MESSAGE(contains(said, words), said);
  }
  const std::string named = message_of_run(
      experiment(folder.path(), "named", "[optimizer.phi]\ntype = \"replacing\"\nfault = \"not_utf8\"\n"));
  CHECK_MESSAGE(contains(named, "optimizers_broken/replacing: its tensor \"moment\\xff\" has a name with"), named);
  const std::string message =
      message_of_run(experiment(folder.path(), "careless", "[optimizer.phi]\ntype = \"careless\"\n"));
  CHECK_MESSAGE(contains(message, "optimizer.phi: optimizers_broken/careless: a step leaves "), message);
  CHECK_MESSAGE(contains(message, " parameters of module phi as they are: "), message);
  CHECK_FALSE(std::filesystem::exists(folder.path() / "careless" / "checkpoints" / "000000000008"));
}

TEST_CASE("Muon for theta, AdamW for phi: each has its own state and rate, and theta is the same with any phi") {
  const TemporaryFolder folder;
  const Checkpoint both = run(experiment(folder.path(), "both",
                                         "[optimizer.theta]\ntype = \"muon\"\nlearning_rate = 1e-2\n"
                                         "[optimizer.phi]\nbetas = [0.5, 0.9]\n"));
  const auto state = tensors(both, "optimizer.safetensors");
  CHECK(state.contains("phi.exp_avg.input_blocks.0.0.weight"));
  CHECK(state.contains("theta.momentum.input_blocks.0.0.weight"));
  CHECK_FALSE(state.contains("theta.exp_avg.input_blocks.0.0.weight"));
  CHECK(state.contains("theta.exp_avg.input_blocks.0.0.bias"));

  // theta's network does not depend on phi, so theta is the same with any phi.
  const Checkpoint other = run(experiment(folder.path(), "other",
                                          "[optimizer.theta]\ntype = \"muon\"\nlearning_rate = 1e-2\n"
                                          "[optimizer.phi]\ntype = \"lion\"\n"));
  const auto a = tensors(both, "weights.safetensors"), b = tensors(other, "weights.safetensors");
  CHECK(at::equal(a.at("theta.input_blocks.0.0.weight"), b.at("theta.input_blocks.0.0.weight")));
  CHECK_FALSE(at::equal(a.at("phi.input_blocks.0.0.weight"), b.at("phi.input_blocks.0.0.weight")));

  // A warm-up of 8 images, then each module's own rate.
  const Value line = records(folder.path() / "both").back();
  CHECK(line.find("learning_rate")->as_number() == 1e-3);
  CHECK(line.find("learning_rates")->find("theta")->as_number() == 1e-2);
  CHECK(line.find("learning_rates")->find("phi")->as_number() == 1e-3);
}

TEST_CASE("a run with an optimizer for each module, stopped and resumed, is bitwise the uninterrupted run") {
  const TemporaryFolder folder;
  for (const char* type : {"muon", "lion", "sgd"}) {
    CAPTURE(type);
    const std::string toml = std::string("[optimizer.phi]\ntype = \"") + type + "\"\nschedule = \"wsd\"\n";
    const std::string name = type;
    const Checkpoint whole = run(experiment(folder.path(), name + "-whole", toml));
    run(experiment(folder.path(), name + "-parts", toml));
    const Checkpoint first = Checkpoint::open(folder.path() / (name + "-parts") / "checkpoints" / "000000000008");
    const Checkpoint parts = resume(experiment(folder.path(), name + "-parts", toml), first);
    for (const char* file : {"weights.safetensors", "ema.safetensors", "optimizer.safetensors"}) {
      const auto a = tensors(whole, file), b = tensors(parts, file);
      REQUIRE(a.size() == b.size());
      for (const auto& [key, tensor] : a) CHECK_MESSAGE(at::equal(tensor, b.at(key)), key);
    }
  }
}

TEST_CASE("a run cannot be resumed with another optimizer") {
  const TemporaryFolder folder;
  const Checkpoint first = run(experiment(folder.path(), "run", ""));
  std::string message;
  try {
    resume(experiment(folder.path(), "run", "[optimizer.phi]\ntype = \"lion\"\n", {"train.total_images=32"}), first);
  } catch (const Error& error) {
    message = error.what();
  }
  CHECK_MESSAGE(contains(message, "module phi was trained with optimizer_standard/adamw"), message);
  CHECK_MESSAGE(contains(message, "optimizer_standard/lion"), message);
}

TEST_CASE("a table in [optimizer] for a module that the head lacks is refused with those it has") {
  const TemporaryFolder folder;
  const std::string message = message_of_run(experiment(folder.path(), "run", "[optimizer.fi]\nlearning_rate = 1\n"));
  CHECK_MESSAGE(contains(message, "optimizer.fi: the head has no module \"fi\"; it has theta, phi"), message);
}
