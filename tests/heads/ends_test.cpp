#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "casdm/sampler.h"
#include "casdm/text.h"
#include "fixture.h"

namespace casdm {
namespace {

using namespace testing;

constexpr std::int64_t kReal = 8;  ///< pixels

const std::map<std::string, std::string> kNetworks = {
    {"unet",
     "type = \"unet\"\nchannels = 8\nchannel_mult = [1, 2]\nnum_res_blocks = 1\ngroups = 4\n"
     "attention_resolutions = [4]\n"},
    {"edm2_unet",
     "type = \"edm2_unet\"\nchannels = 8\nchannel_mult = [1, 2]\nnum_res_blocks = 1\n"
     "num_head_channels = 8\nattention_resolutions = []\n"},
    {"dit", "type = \"dit\"\npatch = 2\nwidth = 16\ndepth = 2\nnum_heads = 2\n"}};

std::map<std::string, std::shared_ptr<const NoiseScheduler>> paths_to_their_ends() {
  std::map<std::string, std::shared_ptr<const NoiseScheduler>> result = {
      {"flow", make<NoiseScheduler>("flow", "", {})},
      {"flow with signal", make<NoiseScheduler>("flow", "t_max = 0.999", {})},
      {"edm", make<NoiseScheduler>("edm", "", {})},
      {"wide edm", make<NoiseScheduler>("edm", "sigma_min = 1e-6\nsigma_max = 1e4", {})},
      {"linear without signal", make<NoiseScheduler>("linear", "rescale_zero_terminal_snr = true", {})}};
  for (const char* betas : {"linear", "cosine", "scaled_linear", "sigmoid"}) {
    result[betas] = make<NoiseScheduler>(betas, "", {});
  }
  return result;
}

struct Head {
  std::string type, options;
};

const std::vector<Head> kHeads = {{"single", "prediction_type = \"epsilon\""},
                                  {"single", "prediction_type = \"sample\""},
                                  {"single", "prediction_type = \"v_prediction\""},
                                  {"single", "prediction_type = \"flow\""},
                                  {"edm", ""},
                                  {"dual", ""},
                                  {"cascade", ""},
                                  {"consistency", "first_steps = 2\nlast_steps = 2"},
                                  {"consistency", "first_steps = 1000\nlast_steps = 1000"}};

/// The head with real networks in which every part has an effect; null if the path is refused.
std::shared_ptr<CascadeHead> head_on(const std::shared_ptr<const NoiseScheduler>& path, const Head& head,
                                     const std::string& network) {
  CascadeHead::Spec spec;
  spec.image = ImageShape::square(3, kReal);
  spec.schedule = path;
  spec.factory = &factory();
  spec.seed = 5;
  const std::string phi = head.type == "cascade" ? "[phi]\n" + network : "";
  std::shared_ptr<CascadeHead> made;
  try {
    made = make<CascadeHead>(head.type, head.options + "\n[theta]\n" + network + phi, spec);
  } catch (const ConfigError& error) {
    INFO(error.what());
    CHECK(std::string(error.what()).find("no signal") != std::string::npos);
    return nullptr;
  }
  const at::NoGradGuard no_grad;
  for (const NamedModule& module : made->modules()) {
    at::Generator generator = make_generator(derive_seed(9, module.name));
    for (const auto& [name, tensor] : module.module->parameters()) {
      Tensor(tensor).add_(at::empty_like(tensor).normal_(0, 0.05, generator));
    }
  }
  return made;
}

bool is_finite(const Tensor& x) { return !x.defined() || x.isfinite().all().item<bool>(); }

TEST_CASE("every head trains and estimates at both ends of every path, with every network") {
  for (const auto& [path_name, path] : paths_to_their_ends()) {
    const TimeRange range = path->range();
    const Tensor ends = at::tensor({range.first, range.last}, at::kDouble);
    const Tensor t = range.is_whole ? ends.to(at::kLong) : ends;
    const std::vector<std::int64_t> shape = {2, 3, kReal, kReal};
    const TrainingBatch batch = noised_batch(*path, randn(1, shape, at::kFloat).tanh(), t, randn(2, shape, at::kFloat));
    for (const Head& options : kHeads) {
      for (const auto& [network_name, network] : kNetworks) {
        CAPTURE(path_name);
        CAPTURE(options.type);
        CAPTURE(options.options);
        CAPTURE(network_name);
        const auto head = head_on(path, options, network);
        if (head == nullptr) continue;
        const Estimate estimate = head->estimate({batch.x_t, batch.t, {}, {}});
        for (const Tensor& part : {estimate.eps, estimate.x0_from_eps, estimate.x0, estimate.gate}) {
          CHECK(is_finite(part));
        }
        const Losses losses = head->losses(batch, FakeMetric());
        for (const LossTerm& term : losses.terms) CHECK_MESSAGE(is_finite(term.value), term.name);
        for (const Statistic& statistic : losses.statistics) CHECK_MESSAGE(is_finite(statistic.value), statistic.name);
        objective(losses).backward();
        for (const NamedModule& module : head->modules()) {
          for (const auto& [name, parameter] : module.module->parameters()) {
            CHECK_MESSAGE(is_finite(parameter.grad()), module.name, ".", name);
          }
        }
      }
    }
  }
}

TEST_CASE("every sampler ends in finite images on every path, with every network that predicts them") {
  const at::NoGradGuard no_grad;
  std::int64_t drawn = 0;
  for (const auto& [path_name, path] : paths_to_their_ends()) {
    for (const auto& [network_name, network] : kNetworks) {
      const auto head = head_on(path, {"edm", ""}, network);
      for (const char* type : {"ddim", "ddpm", "euler", "heun", "dpmpp_2m", "dpmpp_2m_sde", "unipc"}) {
        for (const char* spacing : {"trailing", "linspace", "leading", "karras"}) {
          CAPTURE(path_name);
          CAPTURE(network_name);
          CAPTURE(type);
          CAPTURE(spacing);
          std::shared_ptr<Sampler> sampler;
          try {
            sampler = make<Sampler>(type, text("num_inference_steps = 3\nspacing = \"", spacing, "\""), {path, {}});
          } catch (const ConfigError&) {  // the spacing does not suit this path or sampler
            continue;
          }
          ++drawn;
          Tensor x = randn(3, {1, 3, kReal, kReal}, at::kFloat) * sampler->initial_scale();
          sampler->start();
          for (std::size_t i = 0; i < sampler->plan().size(); ++i) {
            const SampleStep& step = sampler->plan()[i];
            CHECK(step.t != path->range().clean);
            const Tensor noise = step.needs_noise ? randn(10 + i, x.sizes(), at::kFloat) : Tensor();
            const Tensor t = at::full({1}, step.t, at::kDouble);
            x = sampler->step({i, x, head->estimate({sampler->model_input(x, i), t, {}, {}}), noise});
          }
          CHECK(is_finite(x));
        }
      }
    }
  }
  CHECK(drawn > 300);
}

}  // namespace
}  // namespace casdm
