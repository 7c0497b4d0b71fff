#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cstdlib>
#include <functional>
#include <map>

#include "casdm/metric_loss.h"
#include "casdm/optimizer.h"
#include "casdm/safetensors.h"
#include "casdm/sampler.h"
#include "casdm/text.h"
#include "cuda/device.h"
#include "framework/loading/plugin_host.h"
#include "framework/sampling/generate.h"
#include "metrics/lpips_weights.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

const std::string kHead = cascade_head() + "[[metrics]]\ntype = \"l1\"\n";

/// Every component of `kind` in the plugins of this build.
std::vector<std::string> names(std::string_view kind) {
  const TemporaryFolder folder;
  return small_experiment(folder.path(), "names", kHead).host->catalog().names(kind);
}

/// Two steps of the same run on both devices.
void trains_alike(const std::string& what, const std::string& toml, const std::vector<std::string>& overrides) {
  const TemporaryFolder folder;
  std::vector<std::string> settings = {"train.total_images=8", "log.every_images=4"};
  settings.insert(settings.end(), overrides.begin(), overrides.end());
  run(small_experiment(folder.path(), "cpu", toml, settings));
  run(small_experiment(folder.path(), "cuda", toml, on_cuda(settings)));
  const std::vector<Value> cpu = records(folder.path() / "cpu");
  const std::vector<Value> gpu = records(folder.path() / "cuda");
  REQUIRE(cpu.size() == gpu.size());
  const LineDifference first = difference(cpu.front(), gpu.front());
  // Float32 sums of some thousand numbers in another order; the gradient goes through two networks and the metric's.
  CHECK_MESSAGE(first.loss < 2e-5, what << ": losses of the first step differ by " << first.loss);
  CHECK_MESSAGE(first.gradient < 1e-3, what << ": gradient norms of the first step differ by " << first.gradient);
  const LineDifference last = difference(cpu.back(), gpu.back());
  CHECK_MESSAGE(last.loss < 1e-3, what << ": losses of the second step differ by " << last.loss);
  MESSAGE(what << ": losses differ by " << first.loss << ", gradients by " << first.gradient);
}

}  // namespace

TEST_CASE("every metric gives the same distances and gradients on CUDA as on the CPU") {
  const TemporaryFolder weights;
  write_safetensors(weights.path() / "lpips_vgg16.safetensors", lpips_state("vgg16"));
  write_safetensors(weights.path() / "dists_vgg16.safetensors", dists_state());
  ::setenv("CASDM_WEIGHTS_PATH", weights.path().c_str(), 1);
  // What a component needs besides its name.
  const std::map<std::string, std::string> needs = {
      {"sum", ", terms = [{type = \"ssim\"}, {type = \"gradient\", weight = 0.5}]"},
      {"resized", ", size = 24, metric = {type = \"ssim\"}"},
      {"feature_distance", ", extractor = {type = \"pixels\"}"},
      {"patch", ", size = 16, metric = {type = \"ssim\", kernel_size = 7}"}};
  const auto check = [](const std::string& metric) {
    trains_alike(metric, cascade_head(),
                 {"data.image_size=32", "head.theta.attention_resolutions=[16]", "head.phi.attention_resolutions=[16]",
                  "metrics=[{" + metric + "}]"});
  };
  for (const std::string& name : names(MetricLoss::kind)) {
    const auto own = needs.find(name);
    check(text("type = \"", name, "\"", own == needs.end() ? "" : own->second));
  }
  check("type = \"resized\", size = 16, mode = \"area\", metric = {type = \"l2\"}");
  check("type = \"resized\", size = 20, mode = \"bicubic\", metric = {type = \"l2\"}");
  check("type = \"l1\", resize = 12");
  check("type = \"l1\", t_range = [0.2, 0.6], t_weight = \"alpha_bar\"");
}

TEST_CASE("every optimizer steps on CUDA as on the CPU") {
  for (const std::string& name : names(Optimizer::kind)) trains_alike(name, kHead, {"optimizer.type=" + name});
}

TEST_CASE("every noise schedule, timestep sampler and augmentation draws on CUDA as on the CPU") {
  for (const std::string& name : names("noise_scheduler")) trains_alike(name, kHead, {"noise.type=" + name});
  for (const std::string& name : names("timestep_sampler")) trains_alike(name, kHead, {"timesteps.type=" + name});
  for (const std::string& name : names("augmentation")) {
    trains_alike(name, kHead, {"augmentation.type=" + name, "data.random_flip=false"});
  }
}

TEST_CASE("every head trains on CUDA as on the CPU") {
  const std::vector<std::string> heads = names("cascade_head");
  CHECK(heads.size() == 3);
  trains_alike("cascade", kHead, {});
  trains_alike("cascade with a gate network", kHead, {"head.gate_detach_trunk=true", "head.sees_x_t=true"});
  trains_alike("dual", kHead,
               {"head={type=\"dual\", theta={type=\"unet\", channels=8, channel_mult=[1,2], groups=4}}"});
  for (const std::string prediction : {"epsilon", "sample", "v_prediction"}) {
    trains_alike(prediction, single_head(), {"head.prediction_type=" + prediction});
  }
  trains_alike("a learned variance", single_head(), {"head.variance=learned_range", "sampler.type=ddpm"});
  trains_alike("labels", kHead, {"data.use_labels=true", "data.label_dropout=0.3"});
  trains_alike("resampling in blocks", kHead,
               {"head.theta.resblock_updown=true", "head.phi.use_scale_shift_norm=true"});
}

TEST_CASE("every sampler draws the same images on CUDA as on the CPU") {
  const TemporaryFolder folder;
  const auto drawn = [&](const std::string& sampler, c10::Device device) {
    const LoadedExperiment experiment = small_experiment(folder.path(), "sampling", cascade_head(),
                                                         {"sampler={type=\"" + sampler + "\", num_inference_steps=6}"});
    const Model model = make_model(experiment, 0);
    for (const NamedModule& module : model.modules) move_to(*module.module, device);
    GenerateOptions options;
    options.count = 3;
    options.image_size = 16;
    options.device = device;
    return generate(model, options);
  };
  for (const std::string& name : names(Sampler::kind)) {
    const Tensor cpu = drawn(name, c10::Device(c10::kCPU));
    const double difference = (cpu - drawn(name, cuda())).abs().max().item<double>();
    // Networks that are not trained give images far beyond [-1, 1], whose rounding grows with them.
    const double scale = std::max(1.0, cpu.abs().max().item<double>());
    CHECK_MESSAGE(difference < 1e-4 * scale, name << ": images differ by " << difference);
  }
}
