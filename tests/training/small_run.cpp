#include "training/small_run.h"

#include <sstream>

#include "casdm/safetensors.h"
#include "casdm/text.h"
#include "framework/config/document.h"
#include "framework/config/overrides.h"
#include "framework/support/files.h"
#include "support/messages.h"

namespace casdm::testing {

namespace {

constexpr const char* kNetwork = R"(type = "unet"
channels = 8
channel_mult = [1, 2]
num_res_blocks = 1
attention_resolutions = [8]
groups = 4
dropout = 0.2
)";

}  // namespace

std::string cascade_head() {
  return text("[head]\ntype = \"cascade\"\n[head.theta]\n", kNetwork, "[head.phi]\n", kNetwork);
}

std::string single_head() {
  return text("[head]\ntype = \"single\"\nprediction_type = \"epsilon\"\n[head.theta]\n", kNetwork);
}

LoadedExperiment small_experiment(const std::filesystem::path& folder, const std::string& name, const std::string& toml,
                                  const std::vector<std::string>& overrides) {
  const std::string common = text(R"([run]
seed = 3
device = "cpu"
name = ")",
                                  name, "\"\ndirectory = \"", folder.string(), R"("
[data]
type = "shapes"
image_size = 16
random_flip = true
[noise]
type = "linear"
num_train_timesteps = 50
[sampler]
type = "ddim"
num_inference_steps = 2
[train]
batch_size = 4
total_images = 32
[optimizer]
learning_rate = 1e-3
warmup_images = 8
[log]
every_images = 8
sample_count = 0
[checkpoint]
every_images = 16
)",
                                  toml);
  Value document = parse_document(common, "test.toml", folder);
  apply_overrides(document, overrides);
  return resolve_experiment(document, {CASDM_TEST_PLUGIN_DIR});
}

MakeOptimizer optimizer(const std::string& type, const std::string& toml) {
  return [=](const Optimizer::Spec& spec) { return Component<Optimizer>(make<Optimizer>(type, toml, spec)); };
}

Checkpoint run(const LoadedExperiment& experiment) {
  RunFolder folder =
      RunFolder::create(experiment.options.run.directory / experiment.options.run.name, experiment.resolved);
  train(experiment, folder, std::nullopt);
  return Checkpoint::open(folder.path());
}

Checkpoint resume(const LoadedExperiment& experiment, const Checkpoint& from) {
  RunFolder folder = RunFolder::open(experiment.options.run.directory / experiment.options.run.name);
  train(experiment, folder, from);
  return Checkpoint::open(folder.path());
}

std::string message_of_run(const LoadedExperiment& experiment) {
  return message_of<std::exception>([&] { run(experiment); });
}

std::vector<Value> records(const std::filesystem::path& run) {
  std::vector<Value> result;
  std::istringstream lines(read_file(run / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) result.push_back(from_json(line));
  return result;
}

std::map<std::string, Tensor> tensors(const Checkpoint& checkpoint, const std::string& file) {
  std::map<std::string, Tensor> result;
  for (const auto& [name, tensor] : read_safetensors(checkpoint.path() / file).tensors) result[name] = tensor;
  return result;
}

}  // namespace casdm::testing
