#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "casdm/cascade_head.h"
#include "samplers/golden.h"
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
    return guided_network(case_, file_, x, NoiseScheduler::gather(timesteps_, t, at::empty({1}, at::kDouble)));
  }

 private:
  const GuidedCase& case_;
  GoldenFile& file_;
  std::vector<double> timesteps_;
};

/// Makes that backbone whatever is asked for.
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

/// Kept timesteps of the case, rising.
std::vector<std::int64_t> kept_timesteps(const GuidedCase& c) {
  std::vector<std::int64_t> kept;
  const auto sampler = make_sampler("ddim", "timestep_respacing = \"" + c.respacing + "\"", c.schedule);
  for (const SampleStep& step : sampler->plan()) kept.insert(kept.begin(), static_cast<std::int64_t>(step.t));
  return kept;
}

TEST_CASE("guided-diffusion: training losses with fixed and learned variance") {
  for (const auto& path : golden_files("diffusion_steps", ".safetensors")) {
    GoldenFile file(path);
    for (const GuidedCase& c : guided_cases(file)) {
      INFO(c.key);
      const std::vector<std::int64_t> kept = kept_timesteps(c);
      const auto schedule = std::make_shared<const NoiseScheduler>(respaced(*c.schedule, kept));
      const StandInFactory stand_ins(
          std::make_shared<StandInBackbone>(c, file, std::vector<double>(kept.begin(), kept.end())));

      CascadeHead::Spec spec;
      spec.image_size = file["input.x0"].size(-1);
      spec.schedule = schedule;
      spec.factory = &stand_ins;
      // The reference's hybrid loss weights the bound by T/1000, as the head does of itself.
      const std::string options = "theta = { type = \"unet\" }\nprediction_type = \"" +
                                  std::string(c.mean == "EPSILON" ? "epsilon" : "sample") + "\"\nvariance = \"" +
                                  (c.learns_variance() ? "learned_range" : "fixed") + "\"";
      const auto head = make<CascadeHead>("single", options, spec);

      TrainingBatch batch;
      batch.x0 = file["input.x0"];
      batch.eps = file["input.noise"];
      batch.t = at::tensor(c.t_loss);
      batch.x_t = schedule->q_sample(batch.x0, batch.t, batch.eps);
      Tensor total = at::zeros({batch.x0.size(0)});
      for (const LossTerm& term : head->losses(batch, NoMetrics()).terms) {
        const Tensor value = term.weight * term.value;
        total = total + value;
        file.compare(value, c.key + ".loss." + (term.name == "vlb" ? "vb" : "mse"), 1e-5);
      }
      file.compare(total, c.key + ".loss.loss", 1e-5);
    }
    file.finish({".loss.loss", ".loss.mse", ".loss.vb"});
  }
}

}  // namespace
}  // namespace casdm
