#include <ATen/ATen.h>
#include <doctest/doctest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>

#include "casdm/error.h"
#include "casdm/metric_loss.h"
#include "casdm/on_device.h"
#include "casdm/optimizer.h"
#include "casdm/philox.h"
#include "casdm/text.h"
#include "cuda/components.h"
#include "cuda/device.h"
#include "framework/config/overrides.h"
#include "framework/device/device_graph.h"
#include "framework/standin/standin.h"
#include "sdk/src/recording.h"
#include "support/captured.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;
using namespace casdm::standin;

namespace {

constexpr int kSteps = 9;        // of a run in which steps are replayed
constexpr int kStepsBefore = 4;  // the last of which is recorded

const std::string kHead = cascade_head() + "[[metrics]]\ntype = \"l1\"\n";
const std::string kNetwork = "theta={type=\"unet\", channels=8, channel_mult=[1,2], groups=4, dropout=0.2}";

std::string failure_of(const std::function<void()>& work) {
  try {
    record_graph(cuda(), work);
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

std::vector<std::string> steps_of(const std::string& mode, const std::vector<std::string>& settings) {
  std::vector<std::string> all = on_cuda({text("train.total_images=", 4 * kSteps), "train.cuda_graph=" + mode,
                                          "log.every_images=4", "checkpoint.every_images=1000"});
  all.insert(all.end(), settings.begin(), settings.end());
  return all;
}

/// The numbers of the log, without what a clock determines.
std::vector<std::string> lines_of(const std::filesystem::path& run) {
  std::vector<std::string> result;
  for (const Value& line : records(run)) {
    Value numbers{Value::Table{}};
    for (const char* key : {"loss", "statistic", "grad_norm"}) numbers.set(key, *line.find(key));
    result.push_back(to_json(numbers));
  }
  return result;
}

/// Trains with steps computed one by one and replayed from a graph, which must give the same bits. Returns why steps
/// are not replayed; empty: they are.
std::string why_not_replayed(const std::string& what, const std::string& toml,
                             const std::vector<std::string>& settings = {}) {
  CAPTURE(what);
  const TemporaryFolder folder;
  const Checkpoint one_by_one = run(small_experiment(folder.path(), "off", toml, steps_of("off", settings)));
  const DeviceUse before = device_use();
  try {
    const Checkpoint replayed = run(small_experiment(folder.path(), "on", toml, steps_of("on", settings)));
    for (const char* file : {"weights.safetensors", "ema.safetensors"}) {
      const auto expected = tensors(one_by_one, file);
      for (const auto& [name, tensor] : tensors(replayed, file)) {
        CHECK_MESSAGE(at::equal(tensor, expected.at(name)), file << ": " << name);
      }
    }
  } catch (const Error& error) {
    return error.what();
  }
  CHECK(lines_of(folder.path() / "on") == lines_of(folder.path() / "off"));
  CHECK((device_use() - before).operators["graph"] == kSteps - kStepsBefore);
  return "";
}

void is_replayed(const std::string& what, const std::string& toml, const std::vector<std::string>& settings = {}) {
  const std::string reason = why_not_replayed(what, toml, settings);
  CHECK_MESSAGE(reason.empty(), what << ": " << reason);
}

void is_not_replayed(const std::string& what, const std::string& reason, const std::string& toml,
                     const std::vector<std::string>& settings = {}) {
  const std::string message = why_not_replayed(what, toml, settings);
  CHECK_MESSAGE(message.find(reason) != std::string::npos, what << ": " << message);
}

}  // namespace

TEST_CASE("recorded work is done at each replay, on the same memory, and not before") {
  const at::TensorOptions device(cuda());
  const Tensor input = fill(1, {2, 4, 8, 8}).to(cuda()), weight = fill(2, {6, 4, 3, 3}).to(cuda());
  const Tensor sum = at::zeros({6}, device);
  Tensor gradient, made;
  const auto work = [&] {
    const Tensor w = weight.detach().requires_grad_();
    const Tensor y = at::silu(at::group_norm(at::conv2d(input, w), 2));
    made = y.detach().mean({0, 2, 3});
    sum.add_(made);
    gradient = torch::autograd::grad({y.square().sum()}, {w})[0];
  };
  const auto graph = record_graph(cuda(), work);
  CHECK(sum.eq(0).all().item<bool>());
  CHECK(made.isnan().all().item<bool>());
  Tensor expected_sum = at::zeros({6});
  for (int seed = 3; seed < 5; ++seed) {
    input.copy_(fill(seed, {2, 4, 8, 8}));
    graph->replay();
    const Tensor of_graph = gradient.cpu();
    expected_sum += made.cpu();
    const Tensor total = sum.cpu();
    CHECK(at::equal(total, expected_sum));
    const Tensor kept = made, kept_gradient = gradient;
    work();
    CHECK(at::equal(gradient.cpu(), of_graph));
    CHECK(at::equal(made.cpu(), kept.cpu()));
    sum.copy_(total);
    made = kept;
    gradient = kept_gradient;
  }
}

TEST_CASE("a recording refuses what would wait for the device, and what would replay the host's values") {
  const Tensor x = fill(1, {4}).to(cuda()), host = fill(2, {4});
  const char* const refused = "operation not permitted when stream is capturing: ";
  CHECK(failure_of([&] { x.sum().item<float>(); }).find(text(refused, "a number")) != std::string::npos);
  CHECK(failure_of([&] { x.cpu(); }).find(text(refused, "a copy to the host")) != std::string::npos);
  CHECK(failure_of([&] { x.nonzero(); }).find(text(refused, "aten::nonzero")) != std::string::npos);
  CHECK(failure_of([&] { x.index({x > 0}); }).find(text(refused, "the size of a mask")) != std::string::npos);
  CHECK(failure_of([&] { to_device(host, cuda()); }).find(text(refused, "a copy of the host's")) != std::string::npos);
  CHECK(failure_of([&] { x.add(1); }).empty());
  CHECK(x.sum().item<float>() == x.cpu().sum().item<float>());

  const std::vector<std::uint64_t> seeds = {1, 2, 3, 4};
  const Recording recording({{seeds, at::tensor({1, 2, 3, 4}, at::kLong).to(cuda())}});
  CHECK_THROWS_WITH_AS(to_device(host, cuda()), doctest::Contains("copies the host's values"), Error);
  CHECK_NOTHROW(normal_like(x, seeds));
  CHECK_THROWS_WITH_AS(normal_like(x, {1, 2, 3, 5}), doctest::Contains("seeds other than those"), Error);
}

TEST_CASE("dropout and noise of a replay follow the seeds on the device") {
  const Tensor x = at::ones({2, 64}, at::TensorOptions(cuda()));
  const std::vector<std::uint64_t> first = {5, 6}, second = {7, 8};
  const Tensor on_device = at::tensor({5, 6}, at::kLong).to(cuda());
  Tensor dropped, noise;
  std::unique_ptr<DeviceGraph> graph;
  {
    const Recording recording({{first, on_device}});
    graph = record_graph(cuda(), [&] {
      dropped = Dropout{first}.apply(x, 0.5, 1);
      noise = normal_like(x, first);
    });
  }
  for (const auto& seeds : {first, second}) {
    on_device.copy_(at::tensor(std::vector<std::int64_t>(seeds.begin(), seeds.end()), at::kLong));
    graph->replay();
    CHECK(at::equal(dropped.cpu(), Dropout{seeds}.apply(x, 0.5, 1).cpu()));
    CHECK(at::equal(noise.cpu(), normal_like(x, seeds).cpu()));
  }
}

TEST_CASE("replayed steps of every head train bit for bit as steps that are computed one by one") {
  CHECK(component_names("cascade_head").size() == 5);
  is_replayed("cascade", kHead);
  is_replayed("a gate network", kHead, {"head.gate_detach_trunk=true", "head.sees_x_t=true"});
  is_replayed("dual", kHead, {"head={type=\"dual\", " + kNetwork + "}"});
  for (const std::string prediction : {"epsilon", "sample", "v_prediction"}) {
    is_replayed(prediction, single_head(), {"head.prediction_type=" + prediction});
  }
  is_replayed("a learned variance", single_head(), {"head.variance=learned_range", "sampler.type=ddpm"});
  std::vector<std::string> edm = settings_with("noise", "edm"), flow = settings_with("noise", "flow");
  edm.push_back("head={type=\"edm\", " + kNetwork + "}");
  is_replayed("edm", kHead, edm);
  flow.emplace_back("head.prediction_type=flow");
  is_replayed("flow", single_head(), flow);
  is_replayed("aligned", single_head(), {"head.alignment={extractor={type=\"random_patches\"}, projector_width=8}"});
  is_replayed("labels", kHead, {"data.use_labels=true", "data.label_dropout=0.3"});
  is_replayed("one gradient norm", kHead, {"optimizer.grouping=joint", "optimizer.clip_norm=0.1"});
  is_replayed("bf16", kHead, {"run.precision=bf16"});
  is_replayed("checkpointing", kHead, {"head.theta.checkpoint=true", "run.precision=bf16"});
}

TEST_CASE("replayed steps of every backbone train bit for bit as steps that are computed one by one") {
  const std::string networks[] = {
      "type=\"unet\", channels=8, channel_mult=[1,2], groups=4, resblock_updown=true, use_scale_shift_norm=false",
      "type=\"edm2_unet\", channels=8, channel_mult=[1,2], attention_resolutions=[8], num_head_channels=8, dropout=0.1",
      "type=\"dit\", patch=4, width=16, depth=3, num_heads=2, skips=true, bottleneck=8"};
  for (const std::string& network : networks) {
    for (const std::string precision : {"fp32", "bf16"}) {
      is_replayed(text(network, " in ", precision), single_head(),
                  {"head.theta={" + network + "}", "run.precision=" + precision});
    }
  }
}

TEST_CASE("replayed steps train bit for bit with every metric that acts on whole batches, and name another") {
  const MetricUses uses;
  std::string whole;
  for (const std::string& table : uses.tables()) {
    const std::string metric = text("{name = \"", std::count(whole.begin(), whole.end(), '{'), "\", ", table, "}");
    if (table.find("t_range") == std::string::npos) {
      whole += text(whole.empty() ? "" : ", ", metric);
    } else {
      is_not_replayed(table, "acts on some of the images of a batch", single_head(), {"metrics=[" + metric + "]"});
    }
  }
  is_replayed("all of them", single_head(),
              {"data.image_size=32", "head.theta.attention_resolutions=[16]", "metrics=[" + whole + "]"});
}

TEST_CASE("replayed steps train bit for bit with a metric that remembers earlier batches") {
  is_replayed("memory", single_head(),
              {"metrics=[{type=\"feature_mmd\", queue=6, extractor={type=\"pixels\", size=4}}]"});
}

TEST_CASE("a step with a metric that replaces its buffer is not replayed, since the graph would change the old one") {
  is_not_replayed("rebinding", "rebinding_l1.sum is replaced by another tensor in a step", single_head(),
                  {"metrics=[{type=\"rebinding_l1\"}]"});
}

TEST_CASE("replayed steps train bit for bit with every noise schedule, timestep sampler, optimizer and augmentation") {
  const std::pair<std::string, std::string> tables[] = {{"noise_scheduler", "noise"},
                                                        {"timestep_sampler", "timesteps"},
                                                        {"optimizer", "optimizer"},
                                                        {"augmentation", "augmentation"}};
  for (const auto& [kind, table] : tables) {
    for (const std::string& name : component_names(kind)) is_replayed(name, kHead, settings_with(table, name));
  }
}

TEST_CASE("an experiment whose steps cannot be replayed says why") {
  const auto metric = [](const std::string& options) {
    return std::vector<std::string>{"metrics=[{type=\"l1\", " + options + "}]"};
  };
  is_not_replayed("half", "run.precision = \"fp16\"", kHead, {"run.precision=fp16"});
  is_not_replayed("parts", "train.accumulate = 2", kHead, {"train.accumulate=2"});
  is_not_replayed("share", "metric 'l1' acts on some of the images", kHead, metric("share=0.5"));
  is_not_replayed("crop", "metric 'l1' gets crops at places", kHead, metric("crop=8"));
  is_not_replayed("every", "metric 'l1' does not act in every step", kHead, metric("every=2"));
  is_not_replayed("until", "metric 'l1' does not act in every step", kHead, metric("until_images=24"));
  is_not_replayed("a number of the head's that has changed", "if a step is replayed, loss term 'consistency' differs",
                  kHead, {"head={type=\"consistency\", " + kNetwork + "}"});
  is_not_replayed("a term of the head's that ends",
                  "the step depends on how far the training is: at its end the loss terms are eps, alignment and eps",
                  single_head(),
                  {"head.alignment={extractor={type=\"random_patches\"}, projector_width=8, until_images=24}"});
  is_not_replayed("the CPU", "train.cuda_graph = \"on\": steps cannot be replayed: the device is the CPU", kHead,
                  {"run.device=cpu"});
}

TEST_CASE("with auto, what cannot be replayed is computed step by step, and said once") {
  const TemporaryFolder folder;
  const std::string fp16 =
      stderr_of([&] { run(small_experiment(folder.path(), "half", kHead, steps_of("auto", {"run.precision=fp16"}))); });
  const std::string line = "train.cuda_graph: steps are computed one by one: run.precision = \"fp16\"";
  CHECK(fp16.find(line) != std::string::npos);
  CHECK(fp16.find(line) == fp16.rfind(line));
  const std::string whole =
      stderr_of([&] { run(small_experiment(folder.path(), "whole", kHead, steps_of("auto", {}))); });
  CHECK(whole.find("train.cuda_graph: from step 6 on steps are replays") != std::string::npos);
  const std::string cpu =
      stderr_of([&] { run(small_experiment(folder.path(), "cpu", kHead, steps_of("auto", {"run.device=cpu"}))); });
  CHECK(cpu.find("cuda_graph") == std::string::npos);
}

TEST_CASE("a metric that waits for the device is named, and its steps are computed one by one") {
  const TemporaryFolder folder;
  const auto trained = [&](const std::string& mode) {
    Value document = small_experiment(folder.path(), mode, cascade_head(), steps_of(mode, {})).resolved;
    apply_overrides(document, {"metrics=[{type=\"waits\"}]"});
    return tensors(run(resolve_experiment(document, {CASDM_TEST_PLUGIN_DIR, CASDM_BROKEN_METRICS})),
                   "weights.safetensors");
  };
  const auto expected = trained("off");
  std::map<std::string, Tensor> found;
  const std::string said = stderr_of([&] { found = trained("auto"); });
  const std::string line = "train.cuda_graph: steps are computed one by one: ";
  CHECK_MESSAGE(said.find(line) != std::string::npos, said);
  CHECK_MESSAGE(said.find("metric_broken/waits", said.find(line)) != std::string::npos, said);
  CHECK_MESSAGE(said.find("a number", said.find(line)) != std::string::npos, said);
  for (const auto& [name, tensor] : expected) CHECK_MESSAGE(at::equal(tensor, found.at(name)), name);
  CHECK_THROWS_WITH_AS(trained("on"), doctest::Contains("metric_broken/waits"), Error);
}

TEST_CASE("steps are replayed after the warm-up of a metric, and those that measure terms are computed") {
  const TemporaryFolder folder;
  const auto replays = [&](const std::string& name, const std::vector<std::string>& settings) {
    const DeviceUse before = device_use();
    run(small_experiment(folder.path(), name, kHead, steps_of("on", settings)));
    return (device_use() - before).operators["graph"];
  };
  CHECK(replays("warmup", {"metrics=[{type=\"l1\", warmup_images=12}]"}) == kSteps - kStepsBefore - 3);
  CHECK(replays("norms", {"log.grad_norms_every_images=16"}) < kSteps - kStepsBefore);
}

TEST_CASE("a run that replays steps is resumed bit for bit") {
  const TemporaryFolder folder;
  const std::vector<std::string> whole = steps_of("on", {}), half = steps_of("on", {"train.total_images=28"});
  const Checkpoint once = run(small_experiment(folder.path(), "once", kHead, whole));
  const Checkpoint part = run(small_experiment(folder.path(), "parts", kHead, half));
  const auto expected = tensors(once, "weights.safetensors");
  const Checkpoint resumed = resume(small_experiment(folder.path(), "parts", kHead, whole), part);
  for (const auto& [name, tensor] : tensors(resumed, "weights.safetensors")) {
    CHECK_MESSAGE(at::equal(tensor, expected.at(name)), name);
  }
}

TEST_CASE("a replayed step of Cas-DM with ST-LPIPS on CIFAR-10 queues one graph and few other operators") {
  constexpr std::int64_t kMost = 100;
  const TemporaryFolder folder;
  const auto used = [&](const std::string& name, int steps) {
    const std::vector<std::string> settings = on_cuda(
        {"data={type=\"shapes\", image_size=32, random_flip=true}", "run.name=" + name,
         "run.directory=" + folder.path().string(), "run.precision=bf16", "run.threads=1", "head.theta.channels=32",
         "head.phi.channels=32", "log.sample_count=0", "train.batch_size=4", "train.cuda_graph=on",
         text("train.total_images=", 4 * steps), "log.every_images=1000", "checkpoint.every_images=1000"});
    const LoadedExperiment experiment =
        load_experiment(source_dir() / "configs" / "cifar10_casdm_lpips.toml", settings, {CASDM_TEST_PLUGIN_DIR});
    const DeviceUse before = device_use();
    run(experiment);
    return device_use() - before;
  };
  constexpr int kFew = 6, kMore = 8;
  const DeviceUse few = used("few", kFew);
  const DeviceUse use = used("more", kMore) - few;
  CHECK(use.operators.at("graph") == kMore - kFew);
  MESSAGE("a replayed step queues " << use.launches / (kMore - kFew) << " operators");
  CHECK(use.launches <= kMost * (kMore - kFew));
  CHECK_MESSAGE(use.waits <= kMore - kFew, describe_waits(use));
}
