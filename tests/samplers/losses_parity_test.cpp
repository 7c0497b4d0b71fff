#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "casdm/cascade_head.h"
#include "casdm/text.h"
#include "samplers/guided_cases.h"

namespace casdm {
namespace {

using namespace testing;

/// The stand-in network behind a head that counts timesteps in the respaced schedule.
class StandInBackbone : public Backbone {
 public:
  StandInBackbone(const GuidedCase& c, GoldenFile& file, std::vector<double> timesteps)
      : case_(c), file_(file), timesteps_(std::move(timesteps)) {}

  Tensor forward(const Tensor& x, const Tensor& t, const Condition& /*condition*/) override {
    return guided_network(case_, file_, x, testing::gather(timesteps_, t, at::empty({1}, at::kDouble)));
  }

 private:
  const GuidedCase& case_;
  GoldenFile& file_;
  std::vector<double> timesteps_;
};

/// Creates that backbone, whatever is asked for.
class StandInFactory : public ComponentFactory {
 public:
  explicit StandInFactory(std::shared_ptr<Backbone> backbone) : backbone_(std::move(backbone)) {}

 protected:
  std::shared_ptr<void> make_any(std::string_view kind, const ComponentConfig& /*config*/,
                                 const void* /*spec*/) const override {
    REQUIRE(kind == Backbone::kind);
    return backbone_;
  }

 private:
  std::shared_ptr<Backbone> backbone_;
};

class NoMetrics : public MetricTerms {
 public:
  std::vector<LossTerm> evaluate(const Tensor& /*prediction*/, const TrainingBatch& /*batch*/,
                                 const std::string& /*module*/) const override {
    return {};
  }
};

/// Options of the head that computes the case's loss. The reference's hybrid loss weights the bound by T/1000, like the
/// head by default; the unscaled one by 1.
std::string head_options(const GuidedCase& c, std::size_t num_timesteps) {
  std::string options =
      text("theta = { type = \"unet\" }\nprediction_type = \"", c.mean == "EPSILON" ? "epsilon" : "sample",
           "\"\nvariance = \"", c.learns_variance() ? "learned_range" : "fixed", "\"\n");
  if (c.loss == "MSE") options += "vlb_weight = " + number(1.0 / static_cast<double>(num_timesteps)) + "\n";
  if (c.loss.ends_with("KL")) options += "objective = \"vlb\"\n";
  return options;
}

/// The term's factor in the peer's loss. KL is the bound of one timestep, while RESCALED_KL and the head multiply it by
/// T.
double factor(const GuidedCase& c, const LossTerm& term, std::size_t num_timesteps) {
  return c.loss == "KL" ? term.weight / static_cast<double>(num_timesteps) : term.weight;
}

void compare_losses(const GuidedCase& c, GoldenFile& file) {
  const std::vector<std::int64_t> kept = kept_timesteps(c);
  const auto schedule = std::make_shared<const BetaSchedule>(respaced(*c.schedule, kept));
  const StandInFactory stand_ins(
      std::make_shared<StandInBackbone>(c, file, std::vector<double>(kept.begin(), kept.end())));

  CascadeHead::Spec spec;
  spec.image.height = spec.image.width = file["input.x0"].size(-1);
  spec.image.channels = file["input.x0"].size(1);
  spec.schedule = schedule;
  spec.factory = &stand_ins;
  const auto head = make<CascadeHead>("single", head_options(c, kept.size()), spec);

  const TrainingBatch batch = noised_batch(*schedule, file["input.x0"], at::tensor(c.t_loss), file["input.noise"]);
  const auto quantity = [&](const char* name) {
    return Quantity{"single", text(name, ", ", c.learns_variance() ? "learned" : "fixed", " variance"),
                    "guided-diffusion", 1e-5};
  };
  Tensor total = at::zeros({batch.x0.size(0)});
  for (const LossTerm& term : head->losses(batch, NoMetrics()).terms) {
    const Tensor value = factor(c, term, kept.size()) * term.value;
    total = total + value;
    if (c.loss.ends_with("KL")) continue;  // the bound alone is the whole loss there, and has no name of its own
    const bool is_bound = term.name == "vlb";
    file.compare(value, c.key + ".loss." + (is_bound ? "vb" : "mse"),
                 quantity(is_bound ? "variational bound" : "squared error"));
  }
  file.compare(total, c.key + ".loss.loss",
               quantity(c.loss.ends_with("KL") ? "variational objective" : "training loss"));
}

TEST_CASE("guided-diffusion: training losses with fixed and learned variance") {
  for (const auto& path : golden_files("diffusion_steps", ".safetensors")) {
    GoldenFile file(path);
    for (const GuidedCase& c : guided_cases(file)) {
      INFO(c.key);
      try {
        compare_losses(c, file);
      } catch (const std::exception& error) {
        FAIL_CHECK(c.key, ": ", std::string(error.what()));
      }
    }
    file.finish({".loss.loss", ".loss.mse", ".loss.vb"});
  }
}

TEST_CASE("a case that we cannot compute is an error, not skipped") {
  const auto read = [](const std::string& change) {
    return guided_case(from_json(R"({"key": "k", "mean": "EPSILON", "variance": "FIXED_SMALL", "schedule": "linear",
                                     "respacing": "5", "T": 100, "t_mean": [1], "t_loss": [0])" +
                                 change + "}"));
  };
  CHECK_NOTHROW(read(""));
  CHECK_THROWS_WITH(read(R"(, "mean": "PREVIOUS_X")"), doctest::Contains("PREVIOUS_X"));
  CHECK_THROWS_WITH(read(R"(, "clip": false)"), doctest::Contains("clip"));
}

}  // namespace
}  // namespace casdm
