#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "casdm/text.h"
#include "cuda/components.h"
#include "cuda/device.h"
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

}  // namespace

TEST_CASE("every shipped config, made small, trains on the stand-in as on the CPU, draws its grid, and resumes") {
  const MetricUses weights;
  const std::vector<fs::path> configs = shipped_configs();
  CHECK(configs.size() > 30);
  for (const fs::path& config : configs) {
    const TemporaryFolder folder;
    const std::string name = config.stem().string();
    CAPTURE(name);
    const std::vector<std::string> judged = {"evaluate.every_images=0"};
    run(small(config, folder.path(), "cpu", 2, {"run.device=cpu", judged.front()}));
    const Checkpoint half = run(small(config, folder.path(), "device", 2, on_cuda(judged)));
    const LineDifference first =
        difference(records(folder.path() / "cpu").front(), records(folder.path() / "device").front());
    CHECK_MESSAGE(first.loss < 2e-5, name << ": losses of the first step differ by " << first.loss);
    CHECK_MESSAGE(first.gradient < 1e-3, name << ": gradient norms of the first step differ by " << first.gradient);
    CHECK(fs::exists(folder.path() / "device" / "samples" / "2.png"));
    resume(small(config, folder.path(), "device", 4, on_cuda(judged)), half);
    CHECK(records(folder.path() / "device").back().find("images")->as_integer() == 4);
    CHECK(fs::exists(folder.path() / "device" / "samples" / "4.png"));
  }
}

TEST_CASE("a shipped config's run is judged on the stand-in as on the CPU") {
  const MetricUses weights;
  const TemporaryFolder folder;
  ::setenv("CASDM_CACHE_SIZE", "0", /*overwrite=*/1);  // each computes the reference
  const auto score = [&](const std::string& name, const std::vector<std::string>& overrides) {
    std::vector<std::string> settings = {
        "evaluate={every_images=2, num=8, reference_num=16}",
        "evaluate.judges=[{type=\"random_patches\", metrics=[{type=\"sliced_wasserstein\"}]}]"};
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

TEST_CASE("a shipped config's run that is resumed on the stand-in ends with the bits of one that was not stopped") {
  const MetricUses weights;
  const TemporaryFolder folder;
  const fs::path config = source_dir() / "configs" / "cifar10_casdm_lpips.toml";
  const auto of = [&](const std::string& name, std::int64_t images) {
    return small(config, folder.path(), name, images, on_cuda({"run.precision=bf16", "log.sample_count=0"}));
  };
  const Checkpoint whole = run(of("whole", 8));
  const Checkpoint resumed = resume(of("parts", 8), run(of("parts", 4)));
  for (const char* file : {"weights.safetensors", "ema.safetensors", "optimizer.safetensors"}) {
    const auto expected = tensors(whole, file), found = tensors(resumed, file);
    REQUIRE(found.size() == expected.size());
    for (const auto& [name, tensor] : found) CHECK_MESSAGE(at::equal(tensor, expected.at(name)), file << ": " << name);
  }
}
