#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "casdm/text.h"
#include "cuda/components.h"
#include "cuda/device.h"
#include "framework/data/image_transform.h"
#include "framework/evaluation/judges.h"
#include "framework/sampling/run_sampler.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

/// Reduces networks to a few channels, and sampling to few steps, anywhere in `value`.
void make_small(Value& value) {
  if (value.is_array()) {
    for (Value& element : value.as_array()) make_small(element);
  }
  if (!value.is_table()) return;
  const Value* type = value.find("type");
  if (type != nullptr && type->is_string() && type->as_string().ends_with("/unet")) {
    value.set("channels", std::int64_t{8});
    value.set("groups", std::int64_t{4});
    value.set("num_res_blocks", std::int64_t{1});
    if (const Value* width = value.find("num_head_channels"); width != nullptr && width->as_integer() > 0) {
      value.set("num_head_channels", std::int64_t{8});
    }
  }
  if (type != nullptr && type->is_string() && type->as_string().ends_with("/edm2_unet")) {
    value.set("channels", std::int64_t{8});
    value.set("num_head_channels", std::int64_t{8});
  }
  if (type != nullptr && type->is_string() && type->as_string().ends_with("/dit")) {
    value.set("width", std::int64_t{16});
    value.set("num_heads", std::int64_t{2});
  }
  if (value.find("num_inference_steps") != nullptr) value.set("num_inference_steps", std::int64_t{4});
  for (auto& [key, entry] : value.as_table()) make_small(entry);
}

/// The size of the images, for networks with six levels and with fewer.
std::int64_t small_size(std::int64_t size) { return size > 64 ? 32 : 16; }

/// The experiment in `file` on small images of shapes; trains with `images` of them in steps of two.
LoadedExperiment small(const fs::path& file, const fs::path& folder, const std::string& name, std::int64_t images,
                       const std::vector<std::string>& overrides) {
  const LoadedExperiment whole = load_experiment(file, {}, {CASDM_TEST_PLUGIN_DIR});
  const DataOptions& data = whole.options.data;
  const std::string labels = data.use_labels ? ", use_labels=true, label_dropout=0.5" : "";
  std::vector<std::string> settings = {
      text("data={type=\"shapes\", image_size=", small_size(data.image_size), labels, "}"),
      "run.name=" + name,
      "run.directory=" + folder.string(),
      "run.threads=1",
      "train.batch_size=2",
      "train.accumulate=1",
      "log.every_images=2",
      "log.sample_count=2",
      "log.sample_every_images=1000",
      "checkpoint.every_images=1000"};
  settings.insert(settings.end(), overrides.begin(), overrides.end());
  LoadedExperiment experiment = load_experiment(file, settings, {CASDM_TEST_PLUGIN_DIR});
  make_small(experiment.resolved);
  experiment.resolved.find("train")->set("total_images", images);
  Value& optimizer = *experiment.resolved.find("optimizer");
  if (optimizer.find("decay_images") != nullptr) optimizer.set("decay_images", std::int64_t{0});
  return resolve_experiment(experiment.resolved, {CASDM_TEST_PLUGIN_DIR});
}

std::vector<fs::path> shipped_configs() {
  std::vector<fs::path> result;
  for (const auto& entry : fs::directory_iterator(source_dir() / "configs")) {
    if (entry.path().extension() == ".toml") result.push_back(entry.path());
  }
  std::sort(result.begin(), result.end());
  return result;
}

/// The shipped configs, in groups that take similar times.
enum class Group { cifar10_casdm, other_cifar10, emoji_casdm, other_emoji, imagenet, other };

Group group_of(const std::string& name) {
  const bool is_casdm = name.find("_casdm") != std::string::npos;
  if (name.starts_with("cifar10_")) return is_casdm ? Group::cifar10_casdm : Group::other_cifar10;
  if (name.starts_with("emoji_")) return is_casdm ? Group::emoji_casdm : Group::other_emoji;
  return name.starts_with("imagenet") ? Group::imagenet : Group::other;
}

const std::vector<std::string> kJudged = {
    "evaluate.every_images=0",
    "evaluate.judges=[{type=\"random_patches\", features=16, metrics=[{type=\"sliced_wasserstein\"}]}]"};

/// Images of a run, drawn on `device`, and their score against fixed ones.
struct Drawn {
  Tensor images;
  double score;
};

Drawn drawn_on(const std::string& device, Checkpoint checkpoint, const EvaluateOptions& judged) {
  SamplingRequest request;
  request.device = device;
  request.plugins = {CASDM_TEST_PLUGIN_DIR};
  const c10::Device chosen = device == "cpu" ? c10::Device(c10::kCPU) : cuda();
  const LoadedExperiment experiment = experiment_to_sample(checkpoint, request);
  const Model model = model_to_sample(experiment, checkpoint, request, chosen);
  GenerateOptions options = generate_options(experiment.options, chosen, request);
  options.count = 4;
  options.labels = labels_for(label_of_image(checkpoint, model, request), 0, options.count);
  Drawn drawn{generate(model, options), 0};
  const Judges judges(judged, *experiment.host, model.image, chosen);
  const auto state_of = [&](const Tensor& images) {
    SetState state = judges.start();
    judges.update(state, to_uint8(images), 0);
    return state;
  };
  const SetState fixed = state_of(fill(1, drawn.images.sizes().vec()).clamp(-1, 1));
  drawn.score = judges.compare(state_of(drawn.images), fixed).front().value;
  return drawn;
}

void draws_alike(const std::string& name, const LoadedExperiment& experiment) {
  const Checkpoint checkpoint = run(experiment);
  const EvaluateOptions judged = evaluate_options(experiment.resolved);
  compute_in(Precision::fp32);
  const Drawn cpu = drawn_on("cpu", checkpoint, judged), device = drawn_on("cuda", checkpoint, judged);
  const double scale = std::max(1.0, cpu.images.abs().max().item<double>());
  const double apart = (cpu.images - device.images).abs().max().item<double>();
  CHECK_MESSAGE(apart < 1e-4 * scale, name << ": images differ by " << apart << " at magnitudes of up to " << scale);
  CHECK_MESSAGE(cpu.score > 0, name);
  const double scores_apart = relative_difference(device.score, cpu.score);
  CHECK_MESSAGE(scores_apart < 1e-3, name << ": scores differ by " << scores_apart);
}

/// Every tensor of a checkpoint, by file and name.
std::map<std::string, Tensor> all_tensors(const Checkpoint& checkpoint) {
  std::map<std::string, Tensor> result;
  for (const auto& entry : fs::directory_iterator(checkpoint.path())) {
    if (entry.path().extension() != ".safetensors") continue;
    const std::string file = entry.path().filename().string();
    for (const auto& [name, tensor] : tensors(checkpoint, file)) result[text(file, ": ", name)] = tensor.clone();
  }
  return result;
}

/// Two steps of the config on both devices, its images and scores, and a resume after the first step.
void check_config(const fs::path& config) {
  const TemporaryFolder folder;
  const std::string name = config.stem().string();
  CAPTURE(name);
  std::vector<std::string> settings = kJudged;
  settings.emplace_back("checkpoint.every_images=2");
  std::vector<std::string> on_cpu = settings;
  on_cpu.insert(on_cpu.end(), {"run.device=cpu", "log.sample_count=0"});
  draws_alike(name, small(config, folder.path(), "cpu", 4, on_cpu));
  const fs::path device = folder.path() / "device";
  const LoadedExperiment experiment = small(config, folder.path(), "device", 4, on_cuda(settings));
  const Checkpoint whole = run(experiment);
  const LineDifference first = difference(records(folder.path() / "cpu").front(), records(device).front());
  CHECK_MESSAGE(first.loss < 2e-5, name << ": losses of the first step differ by " << first.loss);
  CHECK_MESSAGE(first.gradient < 1e-3, name << ": gradient norms of the first step differ by " << first.gradient);
  CHECK(fs::exists(device / "samples" / "4.png"));

  const std::map<std::string, Tensor> expected = all_tensors(whole);
  CHECK_MESSAGE(expected.size() > 20, name);
  fs::remove_all(whole.path());
  fs::remove(device / "samples" / "4.png");
  const Checkpoint half = Checkpoint::open(device);
  REQUIRE(half.images() == 2);
  const std::map<std::string, Tensor> found = all_tensors(resume(experiment, half));
  REQUIRE_MESSAGE(found.size() == expected.size(), name);
  for (const auto& [tensor, values] : found)
    CHECK_MESSAGE(at::equal(values, expected.at(tensor)), name << ": " << tensor);
  CHECK(records(device).back().find("images")->as_integer() == 4);
  CHECK(fs::exists(device / "samples" / "4.png"));
}

void check_configs(Group group) {
  const MetricUses weights;
  std::size_t count = 0;
  for (const fs::path& config : shipped_configs()) {
    if (group_of(config.stem().string()) != group) continue;
    check_config(config);
    ++count;
  }
  CHECK(count >= 6);
}

}  // namespace

// Each on the stand-in as on the CPU: losses and gradients of the first step, images drawn from the same weights and
// their score; and on the stand-in a resume to the bit.
TEST_CASE("every shipped config of Cas-DM on CIFAR-10, made small, trains, draws, is judged and resumes") {
  check_configs(Group::cifar10_casdm);
}

TEST_CASE("every other shipped config on CIFAR-10, made small, trains, draws, is judged and resumes") {
  check_configs(Group::other_cifar10);
}

TEST_CASE("every shipped config of Cas-DM on emoji, made small, trains, draws, is judged and resumes") {
  check_configs(Group::emoji_casdm);
}

TEST_CASE("every other shipped config on emoji, made small, trains, draws, is judged and resumes") {
  check_configs(Group::other_emoji);
}

TEST_CASE("every shipped config on ImageNet, made small, trains, draws, is judged and resumes") {
  check_configs(Group::imagenet);
}

TEST_CASE("every shipped config on other images, made small, trains, draws, is judged and resumes") {
  check_configs(Group::other);
}

TEST_CASE("a shipped config's run is judged on the stand-in as on the CPU") {
  const MetricUses weights;
  const TemporaryFolder folder;
  ::setenv("CASDM_CACHE_SIZE", "0", /*overwrite=*/1);  // each computes the reference
  const auto score = [&](const std::string& name, const std::vector<std::string>& overrides) {
    std::vector<std::string> settings = {
        "evaluate={every_images=2, num=8, reference_num=16}",
        "evaluate.judges=[{type=\"random_patches\", features=16, metrics=[{type=\"sliced_wasserstein\"}]}]"};
    settings.insert(settings.end(), overrides.begin(), overrides.end());
    run(small(source_dir() / "configs" / "cifar10_casdm_lpips.toml", folder.path(), name, 2, settings));
    for (const Value& line : records(folder.path() / name)) {
      if (const Value* evaluation = line.find("evaluation")) {
        return evaluation->find("scores")->as_table().front().second.find("value")->as_number();
      }
    }
    FAIL("no evaluation");
    return 0.0;
  };
  const double cpu = score("cpu", {"run.device=cpu"}), device = score("device", on_cuda());
  ::unsetenv("CASDM_CACHE_SIZE");
  CHECK(cpu > 0);
  CHECK(relative_difference(device, cpu) < 1e-3);
}
