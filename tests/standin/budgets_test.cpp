#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <algorithm>

#include "casdm/sampler.h"
#include "casdm/text.h"
#include "cuda/components.h"
#include "cuda/device.h"
#include "framework/sampling/generate.h"
#include "framework/sampling/run_sampler.h"
#include "framework/standin/standin.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;
using namespace casdm::standin;

namespace {

constexpr int kFewSteps = 2, kMoreSteps = 6;

/// The use of the device in `kMoreSteps - kFewSteps` training steps that neither log nor save anything.
/// @param experiment  takes (folder, name, settings)
template <class MakeExperiment>
DeviceUse use_of_steps(const MakeExperiment& experiment) {
  const TemporaryFolder folder;
  const auto used = [&](const std::string& name, int steps) {
    const LoadedExperiment made =
        experiment(folder.path(), name,
                   on_cuda({"train.batch_size=4", "train.total_images=" + std::to_string(4 * steps),
                            "log.every_images=1000", "checkpoint.every_images=1000"}));
    const DeviceUse before = device_use();
    run(made);
    return device_use() - before;
  };
  const DeviceUse few = used("few", kFewSteps);
  return used("more", kMoreSteps) - few;
}

void waits_once(const std::string& what, const std::string& toml, const std::vector<std::string>& overrides = {}) {
  const DeviceUse use = use_of_steps(
      [&](const std::filesystem::path& folder, const std::string& name, std::vector<std::string> settings) {
        settings.insert(settings.end(), overrides.begin(), overrides.end());
        return small_experiment(folder, name, toml, settings);
      });
  CHECK_MESSAGE(use.waits <= kMoreSteps - kFewSteps,
                what << ", " << kMoreSteps - kFewSteps << " steps: " << describe_waits(use));
}

/// [[metrics]] with all of `tables`, each within a range of t.
std::string metrics_of(const std::vector<std::string>& tables) {
  std::string result;
  int count = 0;
  for (const std::string& table : tables) {
    const bool has_range = table.find("t_range") != std::string::npos;
    result += text(result.empty() ? "" : ", ", "{name = \"m", ++count, "\", ", table,
                   has_range ? "}" : ", t_range = [0.1, 0.7]}");
  }
  return text("metrics=[", result, "]");
}

/// "2104 x aten::copy_, 600 x ...", per step.
std::string most_frequent(const std::map<std::string, std::int64_t>& counts) {
  std::vector<std::pair<std::int64_t, std::string>> sorted;
  for (const auto& [name, count] : counts) sorted.emplace_back(count / (kMoreSteps - kFewSteps), name);
  std::sort(sorted.rbegin(), sorted.rend());
  std::string result;
  for (std::size_t i = 0; i < std::min<std::size_t>(sorted.size(), 20); ++i) {
    result += text(i == 0 ? "" : ", ", sorted[i].first, " x ", sorted[i].second);
  }
  return result;
}

}  // namespace

TEST_CASE("a training step of any head with any metrics, over a range of t, waits for the device once") {
  const MetricUses uses;
  const std::vector<std::string> large = {"data.image_size=32", "head.theta.attention_resolutions=[16]",
                                          metrics_of(uses.tables())};
  std::vector<std::string> cascade = large;
  cascade.emplace_back("head.phi.attention_resolutions=[16]");
  waits_once("cascade", cascade_head(), cascade);
  waits_once("dual", cascade_head(),
             {"head={type=\"dual\", theta={type=\"unet\", channels=8, channel_mult=[1,2], groups=4}}",
              "data.image_size=32", metrics_of(uses.tables())});
  std::vector<std::string> edm = settings_with("noise", "edm");
  edm.insert(edm.end(), {"head={type=\"edm\", theta={type=\"unet\", channels=8, channel_mult=[1,2], groups=4}}",
                         "data.image_size=32", "metrics=[{type=\"l1\", t_range=[0.0, 0.02]}]"});
  waits_once("edm", cascade_head(), edm);
  for (const std::string prediction : {"epsilon", "sample", "v_prediction"}) {
    std::vector<std::string> single = large;
    single.push_back("head.prediction_type=" + prediction);
    waits_once(prediction, single_head(), single);
  }
  std::vector<std::string> flow = settings_with("noise", "flow");
  flow.insert(flow.end(),
              {"head.prediction_type=flow", "metrics=[{type=\"l1\", t_range=[0.1, 0.7]}, {type=\"ssim\"}]"});
  waits_once("flow", single_head(), flow);
  waits_once("consistency", cascade_head(),
             {"head={type=\"consistency\", theta={type=\"unet\", channels=8, channel_mult=[1,2], groups=4}}",
              "metrics=[{type=\"l1\", t_range=[0.1, 0.7]}]"});
  waits_once("aligned", single_head(), {"head.alignment={extractor={type=\"random_patches\"}, projector_width=8}"});
  CHECK(component_names("cascade_head").size() == 5);
}

TEST_CASE("accumulation, labels, precision and the parts of an experiment add no wait to a training step") {
  const std::string head = cascade_head() + "[[metrics]]\ntype = \"l1\"\n";
  waits_once("accumulation and labels", head, {"train.accumulate=2", "data.use_labels=true", "data.label_dropout=0.3"});
  waits_once("bf16", head, {"run.precision=bf16"});
  waits_once("fp16", head, {"run.precision=fp16"});
  waits_once("checkpointing", head, {"head.theta.checkpoint=true", "head.phi.checkpoint=true"});
  waits_once("a gate network", head, {"head.gate_detach_trunk=true", "head.sees_x_t=true"});
  waits_once("a learned variance", single_head(), {"head.variance=learned_range", "sampler.type=ddpm"});
  const std::pair<std::string, std::string> tables[] = {{"noise_scheduler", "noise"},
                                                        {"timestep_sampler", "timesteps"},
                                                        {"optimizer", "optimizer"},
                                                        {"augmentation", "augmentation"}};
  for (const auto& [kind, table] : tables) {
    for (const std::string& name : component_names(kind)) waits_once(name, head, settings_with(table, name));
  }
}

TEST_CASE("sampling waits for the device once for each batch of images, whatever the number of steps") {
  const TemporaryFolder folder;
  const auto used = [&](const std::string& sampler, const std::string& head) {
    const LoadedExperiment experiment = small_experiment(
        folder.path(), "sampling", head, on_cuda({"sampler={type=\"" + sampler + "\", num_inference_steps=7}"}));
    const Model model = make_model(experiment, 0);
    for (const NamedModule& module : model.modules) move_to(*module.module, cuda());
    GenerateOptions options;
    options.count = 3;
    options.image_size = 16;
    options.device = cuda();
    generate(model, options);  // tables and the like are copied once
    const DeviceUse before = device_use();
    generate(model, options);
    return device_use() - before;
  };
  for (const std::string& name : component_names(Sampler::kind)) {
    for (const std::string& head : {cascade_head(), single_head()}) {
      const DeviceUse use = used(name, head);
      CHECK_MESSAGE(use.waits <= 1, name << ": " << describe_waits(use));
    }
  }
}

TEST_CASE("a sampling step of Cas-DM on CIFAR-10 in bf16 launches a bounded number of operators") {
  constexpr std::int64_t kMost = 440;
  const TemporaryFolder folder;
  const std::vector<std::string> settings = on_cuda(
      {"data={type=\"shapes\", image_size=32, random_flip=true}", "run.name=run",
       "run.directory=" + folder.path().string(), "run.precision=bf16", "run.threads=1", "head.theta.channels=32",
       "head.phi.channels=32", "log.sample_count=0", "train.batch_size=1", "train.total_images=1"});
  const std::filesystem::path config = source_dir() / "configs" / "cifar10_casdm.toml";
  Checkpoint checkpoint = run(load_experiment(config, settings, {CASDM_TEST_PLUGIN_DIR}));
  SamplingRequest request;
  request.device = "cuda";
  request.plugins = {CASDM_TEST_PLUGIN_DIR};
  const auto model_with_steps = [&](const char* steps) {
    request.steps = steps;
    return model_to_sample(experiment_to_sample(checkpoint, request), checkpoint, request, cuda());
  };
  const Model models[] = {model_with_steps("2"), model_with_steps("4")};
  const GenerateOptions options = generate_options(experiment_to_sample(checkpoint, request).options, cuda(), request);
  for (const Model& model : models) generate(model, options);  // tables and the like are made once
  Tensor images;
  const auto launches_of_step = [&] {
    std::int64_t launches[2];
    for (const int i : {0, 1}) {
      const DeviceUse before = device_use();
      images = generate(models[i], options);
      launches[i] = (device_use() - before).launches;
    }
    return (launches[1] - launches[0]) / 2;
  };
  const std::int64_t in_one_piece = launches_of_step();
  const Tensor expected = images;
  for (const Model& model : models) {
    for (const NamedModule& module : model.modules) {
      for (const auto& [name, weight] : module.module->parameters()) Tensor(weight).set_data(weight.detach().clone());
    }
  }
  const std::int64_t apart = launches_of_step();
  MESSAGE("a sampling step launches " << in_one_piece << " operators, " << apart << " where weights lie apart");
  CHECK(at::equal(images, expected));
  CHECK(in_one_piece <= kMost);
  CHECK(in_one_piece < apart);
}

TEST_CASE("a checkpoint waits for the device a few times, however many parameters there are") {
  const auto waits = [](const std::string& networks) {
    const auto used = [&](const std::string& every) {
      return use_of_steps(
          [&](const std::filesystem::path& folder, const std::string& name, std::vector<std::string> settings) {
            settings.push_back("checkpoint.every_images=" + every);
            if (!networks.empty()) settings.insert(settings.end(), {"head.theta." + networks, "head.phi." + networks});
            return small_experiment(folder, name, cascade_head(), settings);
          });
    };
    return (used("4") - used("1000")).waits / (kMoreSteps - kFewSteps);
  };
  const std::int64_t few = waits(""), more = waits("num_res_blocks=3");
  MESSAGE("a checkpoint waits " << few << " times");
  CHECK(few <= 15);
  CHECK(more == few);
}

TEST_CASE("a training step of Cas-DM with ST-LPIPS on CIFAR-10 launches a bounded number of operators") {
  // Attention in bf16 counts as CUDA's flash attention: one kernel forward, three backward.
  constexpr std::int64_t kMost = 1497;
  const DeviceUse use = use_of_steps([](const std::filesystem::path& folder, const std::string& name,
                                        std::vector<std::string> settings) {
    // Fewer channels do not mean fewer operators.
    settings.insert(settings.end(), {"data={type=\"shapes\", image_size=32, random_flip=true}", "run.name=" + name,
                                     "run.directory=" + folder.string(), "run.precision=bf16", "run.threads=1",
                                     "head.theta.channels=32", "head.phi.channels=32", "log.sample_count=0"});
    return load_experiment(source_dir() / "configs" / "cifar10_casdm_lpips.toml", settings, {CASDM_TEST_PLUGIN_DIR});
  });
  const std::int64_t launches = use.launches / (kMoreSteps - kFewSteps);
  MESSAGE("a step launches " << launches << " operators: " << most_frequent(use.operators));
  MESSAGE("by part: " << most_frequent(use.parts));
  const std::int64_t queued = use.queued / (kMoreSteps - kFewSteps);
  MESSAGE("the host waits while the GPU has " << queued << " operators of the next step");
  CHECK(queued > launches * 9 / 10);
  CHECK_MESSAGE(launches <= kMost, launches);
  CHECK_MESSAGE(use.waits <= kMoreSteps - kFewSteps, describe_waits(use));
}

TEST_CASE("patches are cut with as many operators as they have rows and columns, not one for each") {
  const auto launches = [](const std::string& size) {
    const DeviceUse use = use_of_steps(
        [&](const std::filesystem::path& folder, const std::string& name, std::vector<std::string> settings) {
          settings.push_back("metrics=[{type=\"patch\", size=" + size + ", metric={type=\"l2\"}}]");
          return small_experiment(folder, name, single_head(), settings);
        });
    return use.launches / (kMoreSteps - kFewSteps);
  };
  // 256 patches in 16 rows and columns, and one.
  CHECK(launches("1") - launches("16") <= 4 * 2 * 15);
}
