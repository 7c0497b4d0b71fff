#include <doctest/doctest.h>

#include <algorithm>

#include "casdm/safetensors.h"
#include "casdm/sampler.h"
#include "fixture.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

/// The kept timesteps of a reference's `timestep_respacing`, rising.
std::vector<std::int64_t> kept_timesteps(const std::string& respacing, std::shared_ptr<const NoiseScheduler> schedule) {
  const auto sampler = make<Sampler>("ddpm", "timestep_respacing = \"" + respacing + "\"", {std::move(schedule)});
  std::vector<std::int64_t> timesteps;
  for (const SampleStep& step : sampler->plan()) timesteps.push_back(static_cast<std::int64_t>(step.t));
  std::reverse(timesteps.begin(), timesteps.end());
  return timesteps;
}

/// The references' network, tanh(x) cos(t/100) / 2 + .3 field, which counts t in the unspaced schedule.
FakeFactory::Maker stand_in(const TensorFile& file, const std::vector<std::int64_t>& timesteps) {
  return [&file, timesteps](const Backbone::Spec& spec) {
    const std::int64_t repeats = spec.out_channels / spec.in_channels;
    const Tensor field = file.at("input.field" + std::to_string(spec.out_channels));
    return std::make_shared<FunctionBackbone>(spec, [=](const Tensor& x, const Tensor& t) {
      const Tensor original = at::tensor(timesteps, at::kLong).index_select(0, t.to(at::kLong)).to(at::kFloat);
      return x.tanh().repeat({1, repeats, 1, 1}) * (original.reshape({-1, 1, 1, 1}) / 100).cos() * 0.5 + 0.3 * field;
    });
  };
}

}  // namespace

TEST_CASE("training losses agree with guided-diffusion's, with and without a learned variance") {
  const TensorFile file = read_safetensors(parity_dir() / "diffusion_steps.safetensors");
  double largest_error = 0;
  for (const Value& reference : from_json(file.metadata.at("cases")).as_array()) {
    const auto field = [&](const char* name) { return reference.find(name)->as_string(); };
    const std::string key = field("key");
    CAPTURE(key);
    const auto full = std::shared_ptr<const NoiseScheduler>(make<NoiseScheduler>(
        field("schedule"), "num_train_timesteps = " + std::to_string(reference.find("T")->as_integer()), {}));
    const std::vector<std::int64_t> timesteps = kept_timesteps(field("respacing"), full);
    const FakeFactory factory(1, {{"theta", stand_in(file, timesteps)}});

    TrainingBatch batch;
    batch.x0 = file.at("input.x0");
    batch.eps = file.at("input.noise");
    std::vector<std::int64_t> t;
    for (const Value& value : reference.find("t_loss")->as_array()) t.push_back(value.as_integer());
    batch.t = at::tensor(t, at::kLong);

    CascadeHead::Spec spec;
    spec.channels = batch.x0.size(1);
    spec.image_size = batch.x0.size(2);
    spec.schedule = std::make_shared<NoiseScheduler>(respaced(*full, timesteps));
    spec.factory = &factory;
    spec.seed = 1;
    batch.x_t = spec.schedule->q_sample(batch.x0, batch.t, batch.eps);

    const bool predicts_eps = field("mean") == "EPSILON";
    const bool is_learned = field("variance") == "LEARNED_RANGE";
    const auto head = make<CascadeHead>("single",
                                        std::string("prediction_type = \"") + (predicts_eps ? "epsilon" : "sample") +
                                            "\"\nvariance = \"" + (is_learned ? lower(field("variance")) : "fixed") +
                                            "\"\n[theta]\ntype = \"unet\"\n",
                                        spec);
    const Losses losses = head->losses(batch, NoMetric());
    const auto compare = [&](const Tensor& value, const std::string& name) {
      const double error = max_relative_difference(value, file.at(key + ".loss." + name));
      CHECK(error < 1e-5);
      largest_error = std::max(largest_error, error);
    };
    compare(term(losses, predicts_eps ? "eps" : "x0").value, "mse");
    Tensor sum = at::zeros_like(batch.t, at::kFloat);
    for (const LossTerm& term : losses.terms) sum = sum + term.weight * term.value;
    compare(sum, "loss");
    if (is_learned) compare(term(losses, "vlb").weight * term(losses, "vlb").value, "vb");
  }
  MESSAGE("training losses: largest relative difference ", largest_error);
}
