#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <algorithm>

#include "casdm/text.h"
#include "framework/data/batch_loader.h"
#include "framework/sampling/generate.h"
#include "framework/training/batch_draws.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

/// Everything that uses random draws: flips, dropped labels, augmentation, dropout (in the networks), noise, timesteps.
const std::vector<std::string> kAll = {"data.use_labels=true", "data.label_dropout=0.3"};
const std::string kPipeline = "[augmentation]\ntype = \"edm\"\np = 0.5\n";

struct Draws {
  Tensor x0, eps, t, augment, labels;
  std::vector<std::uint64_t> seeds;
};

Draws drawn(const LoadedExperiment& experiment, std::int64_t batch_size, std::int64_t count) {
  const std::shared_ptr<Dataset> dataset = make_dataset(experiment);
  const Model model = make_model(experiment, dataset->num_classes());
  const BatchDraws draws(experiment, model, at::kCPU);
  BatchLoader loader(dataset, experiment.options.data, batch_size, 3, 0, {});
  std::vector<Tensor> x0, eps, t, augment, labels;
  Draws all;
  for (std::int64_t i = 0; i < count; i += batch_size) {
    const ImageBatch images = loader.next();
    const TrainingBatch batch = draws.draw(images).batch;
    x0.push_back(batch.x0);
    eps.push_back(batch.eps);
    t.push_back(batch.t);
    augment.push_back(batch.condition.augment);
    labels.push_back(images.labels);
    all.seeds.insert(all.seeds.end(), batch.seeds.begin(), batch.seeds.end());
  }
  all.x0 = at::cat(x0);
  all.eps = at::cat(eps);
  all.t = at::cat(t);
  all.augment = at::cat(augment);
  all.labels = at::cat(labels);
  return all;
}

double number_at(const Value& record, const std::vector<std::string>& path) {
  const Value* value = &record;
  for (const std::string& key : path) value = value->find(key);
  return value->as_number();
}

/// Images `first` to `first` + `count` - 1 of a sampling.
Tensor sampled(const Model& model, std::int64_t first, std::int64_t count) {
  GenerateOptions options;
  options.seed = 5;
  options.first = first;
  options.count = count;
  options.image_size = 16;
  return generate(model, options);
}

}  // namespace

TEST_CASE("an image's draws depend only on its position, whatever the batch size") {
  const TemporaryFolder folder;
  const LoadedExperiment experiment = small_experiment(folder.path(), "run", cascade_head() + kPipeline, kAll);
  const Draws whole = drawn(experiment, 12, 12);
  for (const std::int64_t batch_size : {1, 3, 4}) {
    CAPTURE(batch_size);
    const Draws parts = drawn(experiment, batch_size, 12);
    CHECK(at::equal(parts.x0, whole.x0));
    CHECK(at::equal(parts.eps, whole.eps));
    CHECK(at::equal(parts.t, whole.t));
    CHECK(at::equal(parts.augment, whole.augment));
    CHECK(at::equal(parts.labels, whole.labels));
    CHECK(parts.seeds == whole.seeds);
  }
  std::vector<std::uint64_t> seeds = whole.seeds;
  std::sort(seeds.begin(), seeds.end());
  CHECK(std::unique(seeds.begin(), seeds.end()) == seeds.end());
  CHECK_FALSE(at::equal(whole.eps[0], whole.eps[1]));
}

TEST_CASE(
    "a batch of 16 in one part, in 2 of 8 or in 4 of 4 trains the same up to rounding, with everything that draws") {
  const TemporaryFolder folder;
  const std::string networks = cascade_head() + kPipeline;
  // A new network outputs zero after its dropout.
  std::vector<std::string> quickly = kAll;
  quickly.insert(quickly.end(), {"train.total_images=96", "optimizer.learning_rate=0.02", "ema.decay=0.5"});
  run(small_experiment(folder.path(), "start", networks, quickly));
  const std::string from = (folder.path() / "start").string();
  const auto train = [&](const std::string& name, const std::vector<std::string>& more) {
    std::vector<std::string> overrides = kAll;
    overrides.insert(overrides.end(), {"train.batch_size=16", "train.total_images=32", "log.every_images=16"});
    overrides.insert(overrides.end(), more.begin(), more.end());
    std::string toml = networks + "[[metrics]]\ntype = \"ssim\"\n";
    for (const char* module : {"theta", "phi"})
      toml += text("[[init]]\nmodule = \"", module, "\"\nfrom = \"", from, "\"\n");
    return tensors(run(small_experiment(folder.path(), name, toml, overrides)), "weights.safetensors");
  };
  const auto line = [&](const std::string& name) { return records(folder.path() / name).front(); };
  const auto whole = train("whole", {});
  const std::vector<std::vector<std::string>> numbers = {{"loss", "eps", "mean"},
                                                         {"loss", "x0", "mean"},
                                                         {"loss", "metric.ssim", "mean"},
                                                         {"grad_norm", "theta"},
                                                         {"grad_norm", "phi"}};
  for (const std::string accumulate : {"2", "4"}) {
    CAPTURE(accumulate);
    const auto parts = train(accumulate, {"train.accumulate=" + accumulate});
    for (const std::vector<std::string>& path : numbers) {
      CAPTURE(path.back());
      CHECK(number_at(line(accumulate), path) == doctest::Approx(number_at(line("whole"), path)).epsilon(1e-5));
    }
    // Two Adam steps of at most 1e-3 each; rounding may flip the sign of a vanishing gradient.
    for (const auto& [name, tensor] : whole) {
      CHECK_MESSAGE((tensor - parts.at(name)).abs().mean().item<double>() < 2e-4, name);
    }
  }
  // Another mask changes a loss by far more than rounding.
  train("dry", {"head.theta.dropout=0.0"});
  CHECK(number_at(line("dry"), numbers.front()) !=
        doctest::Approx(number_at(line("whole"), numbers.front())).epsilon(1e-3));
}

TEST_CASE("a sampling in batches of 1, 3 or 8 has the same images up to rounding") {
  const TemporaryFolder folder;
  const LoadedExperiment experiment =
      small_experiment(folder.path(), "run", cascade_head(), {"sampler.type=ddpm", "sampler.num_inference_steps=4"});
  const Model model = make_model(experiment, 0);
  const Tensor whole = sampled(model, 0, 8);
  for (const std::int64_t batch_size : {1, 3}) {
    for (std::int64_t first = 0; first < 8; first += batch_size) {
      const std::int64_t count = std::min<std::int64_t>(batch_size, 8 - first);
      CHECK(at::allclose(sampled(model, first, count), whole.narrow(0, first, count), 1e-4, 1e-4));
    }
  }
  CHECK_FALSE(at::allclose(whole[0], whole[1], 1e-2, 1e-2));
}
