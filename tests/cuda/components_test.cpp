#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <doctest/doctest.h>

#include <cmath>

#include "casdm/feature_extractor.h"
#include "casdm/one_pass_optimizer.h"
#include "casdm/safetensors.h"
#include "casdm/sampler.h"
#include "casdm/text.h"
#include "cuda/components.h"
#include "cuda/device.h"
#include "extractors/filled_weights.h"
#include "framework/sampling/generate.h"
#include "optimizers/parameters.h"
#include "sets/sets.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

const std::string kHeadWithMetric = cascade_head() + "[[metrics]]\ntype = \"l1\"\n";

/// Makes two steps of the same run on both devices.
void trains_alike(const std::string& what, const std::string& toml, const std::vector<std::string>& overrides) {
  const TemporaryFolder folder;
  std::vector<std::string> settings = {"train.total_images=8", "log.every_images=4"};
  settings.insert(settings.end(), overrides.begin(), overrides.end());
  run(small_experiment(folder.path(), "cpu", toml, settings));
  {
    const auto guarded = guarded_memory();
    run(small_experiment(folder.path(), "cuda", toml, on_cuda(settings)));
  }
  const std::vector<Value> cpu = records(folder.path() / "cpu");
  const std::vector<Value> gpu = records(folder.path() / "cuda");
  REQUIRE(cpu.size() == gpu.size());
  const LineDifference first = difference(cpu.front(), gpu.front());
  // Float32 sums of a few thousand numbers in a different order; the gradient goes through two networks and the
  // metric's.
  CHECK_MESSAGE(first.loss < 2e-5, what << ": losses of the first step differ by " << first.loss);
  CHECK_MESSAGE(first.gradient < 1e-3, what << ": gradient norms of the first step differ by " << first.gradient);
  const LineDifference last = difference(cpu.back(), gpu.back());
  CHECK_MESSAGE(last.loss < 1e-3, what << ": losses of the second step differ by " << last.loss);
  MESSAGE(what << ": losses differ by " << first.loss << ", gradients by " << first.gradient);
}

}  // namespace

TEST_CASE("every metric gives the same distances and gradients on CUDA as on the CPU") {
  const MetricUses uses;
  for (const std::string& metric : uses.tables()) {
    trains_alike(metric, cascade_head(),
                 {"data.image_size=32", "head.theta.attention_resolutions=[16]", "head.phi.attention_resolutions=[16]",
                  "metrics=[{" + metric + "}]"});
  }
}

TEST_CASE("a metric that resizes its images gives the same distances and gradients on CUDA as on the CPU") {
  const MetricUses uses;
  for (const std::string resize : {"", ", resize=240"}) {
    trains_alike("consistency-models" + resize, cascade_head(),
                 {"metrics=[{type=\"lpips\", profile=\"consistency-models\"" + resize + "}]", "train.batch_size=1",
                  "train.total_images=2", "log.every_images=1"});
  }
  // Odd sides, which are halved.
  trains_alike("ms_ssim", cascade_head(), {"metrics=[{type=\"ms_ssim\", resize=23}]"});
}

TEST_CASE("every optimizer steps on CUDA as on the CPU") {
  for (const std::string& name : component_names(Optimizer::kind)) {
    trains_alike(name, kHeadWithMetric, settings_with("optimizer", name));
  }
}

TEST_CASE("an update by adam and adamw on CUDA is float64's") {
  const at::NoGradGuard no_grad;
  constexpr double kRate = 1e-2, kDecay = 0.1;
  for (const std::string name : {"adamw", "adam"}) {
    const Optimizer::Spec spec = filled_parameters({{"matrix.weight", {131, 67}}, {"bias", {7}}}, cuda());
    const auto optimizer = make<Optimizer>(name, "weight_decay = 0.1", spec);
    const Tensor average = at::zeros_like(spec.weights), scale = at::full({}, 0.25, spec.weights.options());
    WideAdam wide(spec.weights, name == "adamw");
    for (const double keep : {0.0, 0.3, 0.9}) {
      fill_gradients(spec, wide.count);
      const Tensor gradient = spec.gradients.cpu().to(at::kDouble) / 4;
      REQUIRE(dynamic_cast<OnePassOptimizer&>(*optimizer).whole_step({kRate, scale, {{average, keep}}}));
      wide.step(gradient, kRate, kDecay, keep);
      CHECK(difference(spec.weights.cpu(), wide.weights) < 2e-6);
      CHECK(difference(average.cpu(), wide.average) < 2e-6);
    }
    CHECK(spec.gradients.eq(0).all().item<bool>());
  }
}

TEST_CASE("an update by adam and adamw on CUDA writes the weights in bf16 as asked, also where it takes no step") {
  const at::NoGradGuard no_grad;
  for (const std::string name : {"adamw", "adam"}) {
    const std::vector<Shape> shapes = {{"matrix.weight", {131, 67}}, {"bias", {7}}};
    const Optimizer::Spec spec = filled_parameters(shapes, cuda()), plain = filled_parameters(shapes, cuda());
    const auto optimizer = make<Optimizer>(name, "", spec), without = make<Optimizer>(name, "", plain);
    auto& one_pass = dynamic_cast<OnePassOptimizer&>(*optimizer);
    REQUIRE(one_pass.writes_shadow());
    constexpr int kCount = 131 * 67, kSplit = 5000;
    REQUIRE(spec.parameters[0].offset == 0);
    const auto count = static_cast<int>(spec.weights.numel());
    // The matrix transposed, in two pieces; what follows is not in it.
    const std::vector<std::vector<int>> pieces = {{0, 0, kSplit, 67, 1, 1, 131, 0},
                                                  {0, kSplit, kCount - kSplit, 67, 1, 1, 131, 0},
                                                  {kCount, 0, count - kCount, 0, 0, 0, 0, 0}};
    std::vector<Tensor> rows;
    for (const std::vector<int>& piece : pieces) rows.push_back(at::tensor(piece, at::kInt));
    for (const double scale : {std::nan(""), 0.25, 0.5, std::nan("")}) {
      const WeightShadow shadow{at::full_like(spec.weights, -77, at::kBFloat16), at::stack(rows).to(cuda())};
      const Tensor given = at::full({}, scale, spec.weights.options());
      for (const Optimizer::Spec* of : {&spec, &plain}) fill_gradients(*of, 0);
      REQUIRE(one_pass.whole_step({1e-2, given, {}, shadow}));
      REQUIRE(dynamic_cast<OnePassOptimizer&>(*without).whole_step({1e-2, given, {}, {}}));
      CHECK(at::equal(spec.weights, plain.weights));
      CHECK(spec.gradients.eq(0).all().item<bool>());
      const Tensor transposed = spec.parameters[0].weight.t().to(at::kBFloat16).flatten();
      CHECK(at::equal(shadow.values.narrow(0, 0, kCount), transposed));
      CHECK(shadow.values.narrow(0, kCount, count - kCount).eq(-77).all().item<bool>());
    }
  }
}

TEST_CASE("every noise schedule, timestep sampler and augmentation draws on CUDA as on the CPU") {
  const std::pair<std::string, std::string> tables[] = {
      {"noise_scheduler", "noise"}, {"timestep_sampler", "timesteps"}, {"augmentation", "augmentation"}};
  for (const auto& [kind, table] : tables) {
    for (const std::string& name : component_names(kind))
      trains_alike(name, kHeadWithMetric, settings_with(table, name));
  }
}

TEST_CASE("every head trains on CUDA as on the CPU") {
  const std::vector<std::string> heads = component_names("cascade_head");
  CHECK(heads.size() == 5);
  const std::string network = "theta={type=\"unet\", channels=8, channel_mult=[1,2], groups=4}";
  trains_alike("cascade", kHeadWithMetric, {});
  trains_alike("cascade with a gate network", kHeadWithMetric, {"head.gate_detach_trunk=true", "head.sees_x_t=true"});
  trains_alike("dual", kHeadWithMetric, {"head={type=\"dual\", " + network + "}"});
  for (const std::string prediction : {"epsilon", "sample", "v_prediction"}) {
    trains_alike(prediction, single_head(), {"head.prediction_type=" + prediction});
  }
  std::vector<std::string> edm = settings_with("noise", "edm"), flow = settings_with("noise", "flow");
  edm.push_back("head={type=\"edm\", " + network + "}");
  trains_alike("edm", kHeadWithMetric, edm);
  flow.emplace_back("head.prediction_type=flow");
  trains_alike("flow", single_head(), flow);
  trains_alike("a learned variance", single_head(), {"head.variance=learned_range", "sampler.type=ddpm"});
  trains_alike("consistency", kHeadWithMetric, {"head={type=\"consistency\", " + network + "}"});
  trains_alike("labels", kHeadWithMetric, {"data.use_labels=true", "data.label_dropout=0.3"});
  trains_alike("resampling in blocks", kHeadWithMetric,
               {"head.theta.resblock_updown=true", "head.phi.use_scale_shift_norm=true"});
}

TEST_CASE("every backbone trains in half precision on CUDA as on the CPU, with every option that adds a branch") {
  CHECK(component_names("backbone").size() == 3);
  const std::pair<std::string, std::string> networks[] = {
      {"unet", "channels=8, channel_mult=[1,2], groups=4, attention_resolutions=[8], checkpoint=true"},
      {"unet", "channels=8, channel_mult=[1,2], groups=4, resblock_updown=true, use_scale_shift_norm=false"},
      {"edm2_unet", "channels=8, channel_mult=[1,2], attention_resolutions=[8], num_head_channels=8, dropout=0.1"},
      {"dit", "patch=4, width=16, depth=3, num_heads=2, skips=true, bottleneck=8"},
      {"dit", "patch=4, width=16, depth=2, num_heads=2, time_frequencies=\"diffusers\""}};
  for (const auto& [type, options] : networks) {
    for (const std::string precision : {"bf16", "fp16"}) {
      for (const std::string extractor : {"pixels", "random_patches"}) {
        const std::string what = text(type, " with ", options, " in ", precision, ", aligned with ", extractor);
        const TemporaryFolder folder;
        const auto losses = [&](const char* name, const std::vector<std::string>& more) {
          std::vector<std::string> settings = {
              text("head.theta={type=\"", type, "\", ", options, "}"),
              text("head.alignment={extractor={type=\"", extractor, "\"}, projector_width=8}"),
              "data.use_labels=true",
              "data.label_dropout=0.3",
              "data.random_flip=false",
              "augmentation={type=\"edm\"}",
              "train.total_images=8",
              "log.every_images=4"};
          settings.insert(settings.end(), more.begin(), more.end());
          run(small_experiment(folder.path(), name, single_head(), settings));
          return records(folder.path() / name);
        };
        const std::vector<Value> whole = losses("cpu", {});
        const auto guarded = guarded_memory();
        const std::vector<Value> half = losses("cuda", on_cuda({"run.precision=" + precision}));
        REQUIRE(whole.size() == half.size());
        // 2^-8 per rounding in bf16, accumulating like noise over tens of operations.
        CHECK_MESSAGE(difference(whole.front(), half.front()).loss < 0.03, what);
        // The scale of fp16 is found by skipping steps.
        if (precision == "bf16") CHECK_MESSAGE(difference(whole.back(), half.back()).loss < 0.03, what);
      }
    }
  }
}

TEST_CASE("every sampler draws the same images on CUDA as on the CPU") {
  compute_in(Precision::fp32);
  const TemporaryFolder folder;
  const auto drawn = [&](const std::string& sampler, c10::Device device) {
    const LoadedExperiment experiment = small_experiment(folder.path(), "sampling", cascade_head(),
                                                         {"sampler={type=\"" + sampler + "\", num_inference_steps=6}"});
    const Model model = make_model(experiment, 0);
    const auto guarded = guarded_memory();
    for (const NamedModule& module : model.modules) move_to(*module.module, device);
    GenerateOptions options;
    options.count = 3;
    options.image_size = 16;
    options.device = device;
    return generate(model, options);
  };
  for (const std::string& name : component_names(Sampler::kind)) {
    const Tensor cpu = drawn(name, c10::Device(c10::kCPU));
    const double difference = (cpu - drawn(name, cuda())).abs().max().item<double>();
    // Untrained networks give images far beyond [-1, 1], and rounding grows with them.
    const double scale = std::max(1.0, cpu.abs().max().item<double>());
    CHECK_MESSAGE(difference < 1e-4 * scale, name << ": images differ by " << difference);
  }
}

TEST_CASE("every feature extractor gives the same features on CUDA as on the CPU") {
  compute_in(Precision::fp32);
  const auto shapes = [](const std::string& name) {
    const auto path = source_dir() / "tests/parity/references" / (name + ".safetensors");
    return shapes_of(read_safetensors(path).metadata.at("shapes"));
  };
  const at::NoGradGuard no_grad;
  const Tensor images = fill(1, {2, 3, 56, 56});
  const auto check = [&](const std::string& name, const std::string& options) {
    const auto extractor = make<FeatureExtractor>(name, options, {ImageShape::square(3, 56), 0});
    extractor->train(false);
    std::vector<std::string> wanted;
    for (const FeatureInfo& feature : extractor->info().features) wanted.push_back(feature.name);
    const NamedTensors cpu = extractor->extract(images, wanted);
    const auto guarded = guarded_memory();
    move_to(*extractor, cuda());
    const NamedTensors gpu = extractor->extract(images.to(cuda()), wanted);
    for (std::size_t i = 0; i < cpu.size(); ++i) {
      const double difference = max_relative_difference(gpu[i].second.cpu(), cpu[i].second);
      CHECK_MESSAGE(difference < 1e-4, name << ", " << cpu[i].first << ": features differ by " << difference);
    }
  };
  for (const std::string& name : component_names(FeatureExtractor::kind)) {
    if (name == "inception") {
      check(name, FilledWeights(inception_state(shapes("inception"))).option());
    } else if (name == "dinov2") {
      check(name, "size = 56\n" + FilledWeights(dinov2_state(shapes("dinov2"))).option());
    } else {
      check(name, "");
    }
  }
}

TEST_CASE("every set metric gives the same scores for features on CUDA as for those on the CPU") {
  compute_in(Precision::fp32);
  for (const std::string& name : component_names(SetMetric::kind)) {
    const auto metric = make_set_metric(name, 6);
    const Tensor rows = normal(1, {60, 6}), others = normal(2, {60, 6}) + 0.3;
    const std::vector<Score> cpu = compare(*metric, rows, others);
    const auto guarded = guarded_memory();
    const std::vector<Score> gpu = compare(*metric, rows.to(cuda()), others.to(cuda()));
    REQUIRE(cpu.size() == gpu.size());
    for (std::size_t i = 0; i < cpu.size(); ++i) {
      CHECK_MESSAGE(gpu[i].value == doctest::Approx(cpu[i].value).epsilon(1e-6), name << ": " << cpu[i].name);
    }
  }
}
