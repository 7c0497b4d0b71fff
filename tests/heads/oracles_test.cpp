#include <doctest/doctest.h>

#include "casdm/sampler.h"
#include "fixture.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

/// A component's type and options.
using Choice = std::pair<std::string, std::string>;

const std::string kUNet =
    "type = \"unet\"\nchannels = 32\nchannel_mult = [1, 2]\nnum_res_blocks = 1\nattention_resolutions = [8]\n";

/// A head of the real plugins on 16-pixel images.
std::shared_ptr<CascadeHead> real_head(const std::string& type, const std::string& options,
                                       std::shared_ptr<const BetaSchedule> schedule) {
  CascadeHead::Spec spec;
  spec.image.height = spec.image.width = 16;
  spec.schedule = std::move(schedule);
  spec.factory = &factory();
  spec.seed = 3;
  const std::string phi = type == "cascade" ? "[phi]\n" + kUNet : "";
  return make<CascadeHead>(type, options + "\n[theta]\n" + kUNet + phi, spec);
}

TrainingBatch real_batch(const BetaSchedule& schedule) {
  return noised_batch(schedule, fill(1, {3, 3, 16, 16}), at::tensor({2, 40, 90}, at::kLong),
                      randn(2, {3, 3, 16, 16}, at::kFloat));
}

Tensor sample(CascadeHead& head, Sampler& sampler, Tensor x) {
  const at::NoGradGuard no_grad;
  sampler.start();
  for (std::size_t i = 0; i < sampler.plan().size(); ++i) {
    StepInput input;
    input.index = i;
    input.x_t = x;
    const Tensor t = at::full({x.size(0)}, sampler.plan()[i].t, at::kFloat);
    input.estimate = head.estimate({sampler.model_input(x, i), t});
    if (sampler.plan()[i].needs_noise) input.noise = randn(100 + i, x.sizes(), at::kFloat);
    x = sampler.step(input);
  }
  return x;
}

}  // namespace

TEST_CASE("every head trains every parameter of real networks, with finite losses") {
  const auto schedule = linear_schedule(100);
  for (const auto& [type, options] : {Choice{"cascade", ""}, Choice{"cascade", "gate_detach_trunk = true"},
                                      Choice{"cascade", "sees_x_t = true\noutput = \"residual\""}, Choice{"dual", ""},
                                      Choice{"single", ""}, Choice{"single", "variance = \"learned_range\""}}) {
    CAPTURE(type);
    CAPTURE(options);
    const auto head = real_head(type, options, schedule);
    for (const NamedModule& module : head->modules()) fill_state(state(*module.module));
    const Losses losses = head->losses(real_batch(*schedule), FakeMetric());
    for (const LossTerm& term : losses.terms) CHECK(term.value.isfinite().all().item<bool>());
    objective(losses).backward();
    for (const NamedModule& module : head->modules()) {
      for (const auto& [name, tensor] : module.module->parameters()) {
        CAPTURE(name);
        REQUIRE(tensor.grad().defined());
        CHECK(tensor.grad().isfinite().all().item<bool>());
        CHECK(tensor.grad().ne(0).any().item<bool>());
      }
    }
  }
}

TEST_CASE("a fresh Cas-DM with residual output samples the images of its theta alone") {
  const auto schedule = linear_schedule(100);
  const auto cascade = real_head("cascade", "output = \"residual\"", schedule);
  const auto single = real_head("single", "", schedule);
  for (CascadeHead* head : {cascade.get(), single.get()}) fill_state(state(*head->modules().at(0).module));
  {
    const at::NoGradGuard no_grad;
    const NamedTensors phi = cascade->modules().at(1).module->parameters();
    const auto bias = std::find_if(phi.begin(), phi.end(), [](const auto& p) { return p.first == "out.2.bias"; });
    REQUIRE(bias != phi.end());
    bias->second[3].fill_(1.7);  // the gate
  }
  const Tensor x = randn(9, {2, 3, 16, 16}, at::kFloat);
  for (const auto& [type, options] :
       {Choice{"ddim", "num_inference_steps = 10"}, Choice{"ddpm", "num_inference_steps = 20"}}) {
    CAPTURE(type);
    const auto sampler = make<Sampler>(type, options, {schedule, {}});
    const Tensor expected = sample(*single, *sampler, x);
    const Tensor difference = sample(*cascade, *sampler, x) - expected;
    MESSAGE(type, ": largest difference ", largest(difference));
    // Rounding of r h + (1-r) h, 6e-8, through 20 evaluations of the network.
    CHECK(largest(difference) < 1e-4);
    CHECK(largest(expected) > 0.1);
  }
}
