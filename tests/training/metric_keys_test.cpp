#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "casdm/random.h"
#include "framework/support/files.h"
#include "framework/training/metric_selection.h"
#include "framework/training/metric_terms.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

/// Two processes with the same images.
struct TwoAlike final : World {
  int size() const override { return 2; }
  void sum(const Tensor& tensor) override { tensor.mul_(2); }
  Tensor gather(const Tensor& own) override { return at::cat({own, own}); }
  Tensor gather_with_gradient(const Tensor& own) override { return gather(own); }
};

/// The metrics of a small experiment on a flow, and batches of it.
struct Metrics {
  explicit Metrics(const std::string& metric, const std::string& type = "l1", World& world = World::alone())
      : experiment(small_experiment(folder.path(), "metrics",
                                    single_head() + "[[metrics]]\ntype = \"" + type + "\"\n" + metric,
                                    {"noise={type=\"flow\", t_max=0.999}", "sampler.spacing=\"trailing\""})),
        metrics(experiment, *model.schedule, c10::Device(c10::kCPU), world) {}

  TemporaryFolder folder;
  LoadedExperiment experiment;
  Model model = make_model(experiment, 0);
  ExperimentMetrics metrics;

  /// Images at these times; image i has seed 100 + i.
  TrainingBatch batch(const std::vector<double>& t) const {
    const auto count = static_cast<std::int64_t>(t.size());
    const Tensor x0 = fill(1, {count, 3, 16, 16});
    TrainingBatch result = noised_batch(*model.schedule, x0, at::tensor(t, at::kDouble), fill(2, {count, 3, 16, 16}));
    for (std::uint64_t i = 0; i < t.size(); ++i) result.seeds.push_back(100 + i);
    result.step = 1;
    return result;
  }

  /// The only term, and its gradient at the prediction if the objective is its mean over the batch.
  struct Found {
    Tensor value, gradient;
    double weight = 0;
  };
  Found evaluate(const TrainingBatch& batch, const Tensor& prediction) const {
    const Tensor x = prediction.detach().clone().requires_grad_(true);
    const std::vector<LossTerm> terms = metrics.evaluate(x, batch, "theta");
    REQUIRE(terms.size() == 1);
    const LossTerm& term = terms.front();
    if (term.value.requires_grad()) (term.value.sum() * (term.weight / static_cast<double>(x.size(0)))).backward();
    return {term.value.detach(), x.grad().defined() ? x.grad() : at::zeros_like(x), term.weight};
  }
};

MetricOptions ranged(NoiseUnit unit, double low, double high) {
  MetricOptions options;
  options.noise_unit = unit;
  options.noise_range = {low, high};
  return options;
}

std::vector<std::shared_ptr<NoiseScheduler>> paths() {
  std::vector<std::shared_ptr<NoiseScheduler>> result;
  for (const char* type : {"linear", "cosine", "sigmoid", "scaled_linear", "flow", "edm"}) {
    result.push_back(make<NoiseScheduler>(type, "", {}));
  }
  return result;
}

/// Many times of a path, in arbitrary order.
Tensor times_of(const NoiseScheduler& path) {
  const TimeRange range = path.range();
  if (range.is_whole) return at::arange(range.first, range.last + 1, at::kDouble);
  return path.time_at(at::linspace(9, -9, 997, at::kDouble));
}

Tensor length(const Tensor& gradient) { return gradient.flatten(1).norm(2, 1); }

/// |prediction - target| of each image, the metric of these tests.
Tensor distance(const Tensor& prediction, const TrainingBatch& batch) {
  return (prediction - batch.x0).abs().flatten(1).mean(1);
}

}  // namespace

TEST_CASE("a range of noise means the same noise on every path, whatever its unit") {
  for (const auto& path : paths()) {
    const Tensor t = times_of(*path);
    // For x = alpha x0 + sigma eps, a rectified flow has x / (alpha + sigma), at the time sigma / (alpha + sigma).
    const Tensor ratio = path->sigma(t) / path->alpha(t);
    const Tensor expected = ratio.le(0.7 / 0.3).logical_and(ratio.ge(0.2 / 0.8));
    CHECK(expected.any().item<bool>());
    CHECK_FALSE(expected.all().item<bool>());
    const auto chosen = [&](NoiseUnit unit, double low, double high) {
      return MetricSelection(ranged(unit, low, high), "m", *path).chosen(t, {});
    };
    CHECK(at::equal(chosen(NoiseUnit::flow_time, 0.2, 0.7), expected));
    CHECK(at::equal(chosen(NoiseUnit::log_snr, -2 * std::log(0.7 / 0.3), 2 * std::log(0.8 / 0.2)), expected));
    CHECK(at::equal(chosen(NoiseUnit::log_snr, -2 * std::log(0.7 / 0.3), std::numeric_limits<double>::infinity()),
                    ratio.le(0.7 / 0.3)));
    MetricOptions by_t;
    by_t.t_range = {0.2, 0.7};
    CHECK(at::equal(chosen(NoiseUnit::t_fraction, 0.2, 0.7), MetricSelection(by_t, "m", *path).chosen(t, {})));
    by_t.noise_unit = NoiseUnit::flow_time;
    by_t.noise_range = {0.2, 0.7};
    const Tensor both = expected.logical_and(chosen(NoiseUnit::t_fraction, 0.2, 0.7));
    if (both.any().item<bool>()) {
      CHECK(at::equal(MetricSelection(by_t, "m", *path).chosen(t, {}), both));
    } else {
      CHECK_THROWS_AS(MetricSelection(by_t, "m", *path), ConfigError);
    }
  }
}

TEST_CASE("the page on noise schedulers says which fraction of T corresponds to which flow time") {
  const std::string page = read_file(source_dir() / "docs/interfaces/noise_scheduler.md");
  const auto schedules = paths();
  for (const double flow_time : {0.1, 0.3, 0.5, 0.7, 0.9}) {
    char row[200], cell[32];
    std::snprintf(row, sizeof row, "| %.1f | %.2f |", flow_time, 2 * std::log((1 - flow_time) / flow_time));
    std::string expected = row;
    for (std::size_t i = 0; i < 4; ++i) {
      const NoiseScheduler& path = *schedules[i];
      const Tensor t = times_of(path);
      const Tensor chosen = MetricSelection(ranged(NoiseUnit::flow_time, 0, flow_time + 1e-9), "m", path).chosen(t, {});
      std::snprintf(cell, sizeof cell, " %.3f |", path.fraction(t.masked_select(chosen).max().item<double>()));
      expected += cell;
    }
    std::snprintf(cell, sizeof cell, " %.3f | %.4f |", flow_time, flow_time / (80 * (1 - flow_time)));
    expected += cell;
    CHECK_MESSAGE(page.find(expected) != std::string::npos, "the page lacks the row ", expected);
  }
}

TEST_CASE("a range of noise that no time of the path has is refused, with those that it has") {
  const auto refused = [](const std::string& metric, const char* why) {
    CHECK_THROWS_WITH_AS(Metrics m(metric), doctest::Contains(why), ConfigError);
  };
  refused("noise_range = [0.9995, 1.0]\nnoise_unit = \"flow_time\"\n",
          "no timestep falls into noise_range = [0.9995, 1.0] of metric 'l1'; this path has flow_time from ");
  refused("noise_range = [40.0, inf]\nnoise_unit = \"log_snr\"\n", "this path has log_snr from -13.8");
  refused("t_range = [0.0, 0.2]\nnoise_range = [0.3, 1.0]\nnoise_unit = \"flow_time\"\n",
          "t_range = [0.0, 0.2] and noise_range = [0.3, 1.0]");
  CHECK_NOTHROW(Metrics("noise_range = [0.9985, 1.0]\nnoise_unit = \"flow_time\"\n"));
}

TEST_CASE("the mean over active images has their gradient alone, and records stay the same") {
  const std::string range = "weight = 0.5\nnoise_range = [0.0, 0.4]\nnoise_unit = \"flow_time\"\n";
  const Metrics over_batch(range), over_active(range + "mean = \"active\"\n");
  const TrainingBatch batch = over_batch.batch({0.1, 0.9, 0.35, 0.8, 0.7});
  const Tensor prediction = fill(3, {5, 3, 16, 16});
  const Metrics::Found plain = over_batch.evaluate(batch, prediction), active = over_active.evaluate(batch, prediction);
  CHECK(at::equal(active.value, plain.value));
  CHECK(at::allclose(plain.value, distance(prediction, batch) * at::tensor({1.f, 0.f, 1.f, 0.f, 0.f})));
  // Two of five images, so the mean is over two.
  CHECK(at::allclose(active.gradient, plain.gradient * 2.5));
  const Tensor sign = (prediction - batch.x0).sign() / 768;
  CHECK(at::allclose(active.gradient[2], sign[2] * (0.5 / 2)));
  CHECK(active.gradient[1].count_nonzero().item<std::int64_t>() == 0);
  const Metrics::Found none = over_active.evaluate(over_active.batch({0.9, 0.8}), fill(3, {2, 3, 16, 16}));
  CHECK(none.value.count_nonzero().item<std::int64_t>() == 0);
}

TEST_CASE("the mean over active images is over the whole batch, however it is divided into parts") {
  const std::string mean = "noise_range = [0.0, 0.4]\nnoise_unit = \"flow_time\"\nmean = \"active\"\n";
  Metrics m(mean);
  const std::vector<double> t = {0.1, 0.9, 0.35, 0.3};
  const TrainingBatch whole = m.batch(t);
  const Tensor prediction = fill(3, {4, 3, 16, 16});
  const Tensor expected = m.evaluate(whole, prediction).gradient;
  std::vector<Tensor> parts;
  for (const std::int64_t first : {0, 2}) {
    TrainingBatch part = m.batch({t[static_cast<std::size_t>(first)], t[static_cast<std::size_t>(first) + 1]});
    part.x0 = whole.x0.narrow(0, first, 2);
    part.target = part.x0;
    m.metrics.set_part({part.t, first, at::tensor(t, at::kDouble), whole.seeds});
    parts.push_back(m.evaluate(part, prediction.narrow(0, first, 2)).gradient / 2);  // of an objective over four images
  }
  CHECK(at::allclose(at::cat(parts), expected));
}

TEST_CASE("with several processes, too, a metric with a memory counts active images over the whole batch") {
  const std::string range = "noise_range = [0.0, 0.4]\nnoise_unit = \"flow_time\"\n";
  TwoAlike world;
  Metrics over_batch(range, "relative_l1", world), over_active(range + "mean = \"active\"\n", "relative_l1", world);
  const std::vector<double> t = {0.1, 0.9, 0.35, 0.3};  // all but one are active
  const Tensor prediction = fill(3, {2, 3, 16, 16});
  for (const std::int64_t first : {0, 2}) {
    const auto gradient = [&](Metrics& m) {
      const TrainingBatch part = m.batch({t[static_cast<std::size_t>(first)], t[static_cast<std::size_t>(first) + 1]});
      m.metrics.set_part({part.t, first, at::tensor(t, at::kDouble), m.batch(t).seeds});
      return m.evaluate(part, prediction).gradient;
    };
    CHECK(at::allclose(gradient(over_active), gradient(over_batch) * (4.0 / 3)));
  }
}

TEST_CASE("a metric ends after until_images, and every nth step has n times its weight") {
  const Metrics m("weight = 0.5\nuntil_images = 100\nevery = 4\n");
  TrainingBatch batch = m.batch({0.1, 0.9});
  const Tensor prediction = fill(3, {2, 3, 16, 16});
  std::vector<double> weights;
  for (std::int64_t step = 1; step <= 9; ++step) {
    batch.step = step;
    batch.images_seen = 12 * (step - 1);
    const std::vector<LossTerm> terms = m.metrics.evaluate(prediction, batch, "theta");
    weights.push_back(terms.empty() ? 0 : terms.front().weight);
  }
  CHECK(weights == std::vector<double>{2, 0, 0, 0, 2, 0, 0, 0, 2});
  batch.images_seen = 99;
  CHECK(m.metrics.evaluate(prediction, batch, "theta").size() == 1);
  batch.images_seen = 100;
  CHECK(m.metrics.evaluate(prediction, batch, "theta").empty());
}

TEST_CASE("a share of the images stands for all, and which belong to it depends only on their seeds") {
  const Metrics all(""), some("share = 0.25\n");
  std::vector<double> t(400, 0.5);
  const TrainingBatch batch = all.batch(t);
  const Tensor prediction = fill(3, {400, 3, 16, 16});
  const Metrics::Found whole = all.evaluate(batch, prediction), part = some.evaluate(batch, prediction);
  const Tensor is_in = part.value.ne(0);
  // 100 are expected, with a standard deviation of 8.7.
  const auto count = is_in.sum().item<std::int64_t>();
  CHECK(count > 65);
  CHECK(count < 135);
  CHECK(at::equal(part.value, at::where(is_in, whole.value, at::zeros_like(whole.value))));
  CHECK(at::allclose(part.gradient, whole.gradient * is_in.view({-1, 1, 1, 1}) * 4));
  TrainingBatch two = all.batch({0.5, 0.5});
  two.seeds = {batch.seeds[17], batch.seeds[300]};
  const Tensor value = some.evaluate(two, fill(4, {2, 3, 16, 16})).value;
  CHECK(value[0].ne(0).item<bool>() == is_in[17].item<bool>());
  CHECK(value[1].ne(0).item<bool>() == is_in[300].item<bool>());
}

TEST_CASE("a share, a mean and every nth step keep the expectation of the gradient") {
  // Over many batches, each image's gradient is on average what it is without a share.
  const Metrics some("share = 0.5\n");
  TrainingBatch batch = some.batch({0.5});
  const Tensor prediction = fill(3, {1, 3, 16, 16});
  const Tensor expected = Metrics("").evaluate(batch, prediction).gradient;
  Tensor mean = at::zeros_like(expected);
  constexpr int kDraws = 400;
  for (std::uint64_t seed = 0; seed < kDraws; ++seed) {
    batch.seeds = {seed};
    mean += some.evaluate(batch, prediction).gradient / kDraws;
  }
  // A mean of 400 draws of 0 or 2 has a standard deviation of 0.05.
  CHECK((mean.norm() / expected.norm()).item<double>() == doctest::Approx(1).epsilon(0.2));
}

TEST_CASE("a metric normalised by itself keeps its value, and its gradient is scaled by a power of it") {
  const Tensor prediction = fill(3, {3, 3, 16, 16}) * at::tensor({0.01f, 1.f, 30.f}).view({3, 1, 1, 1});
  for (const double power : {0.0, 0.5, 1.0}) {
    const Metrics plain(""), normalised("normalise = \"self\"\nnormalise_power = " + std::to_string(power) + "\n");
    TrainingBatch batch = plain.batch({0.1, 0.5, 0.9});
    batch.target = at::zeros_like(batch.x0);
    const Metrics::Found a = plain.evaluate(batch, prediction), b = normalised.evaluate(batch, prediction);
    CHECK(at::equal(a.value, b.value));
    CHECK(at::allclose(length(b.gradient), length(a.gradient) * (a.value + 1e-3).pow(-power)));
  }
}

TEST_CASE("a balanced metric has the gradient length of the squared error for each image, times its weight") {
  const Metrics m("weight = 0.3\nbalance = \"squared_error\"\n");
  const TrainingBatch batch = m.batch({0.1, 0.5, 0.9});
  const Tensor prediction = fill(3, {3, 3, 16, 16}) * at::tensor({1.f, 5.f, 0.1f}).view({3, 1, 1, 1});
  const Metrics::Found found = m.evaluate(batch, prediction);
  CHECK(at::allclose(found.value, distance(prediction, batch)));
  const Tensor of_squared_error = 2 * (prediction - batch.x0) / 768 / 3;
  CHECK(at::allclose(length(found.gradient), 0.3 * length(of_squared_error)));
  // But in its own direction.
  const Tensor sign = (prediction - batch.x0).sign().flatten(1);
  CHECK(at::allclose(at::cosine_similarity(found.gradient.flatten(1), sign, 1), at::ones({3})));
  const at::NoGradGuard no_grad;
  CHECK(m.metrics.evaluate(prediction, batch, "theta").front().value.isfinite().all().item<bool>());
}

TEST_CASE("a crop is at the same position in both images, given by the image's seed, and all positions occur") {
  const Metrics m("crop = 14\n");
  const TrainingBatch batch = m.batch(std::vector<double>(300, 0.5));
  const Tensor prediction = fill(3, {300, 3, 16, 16});
  const Metrics::Found found = m.evaluate(batch, prediction);
  std::set<std::pair<std::int64_t, std::int64_t>> places;
  for (std::int64_t i = 0; i < 300; ++i) {
    const Tensor seen = found.gradient[i][0].ne(0);
    REQUIRE(seen.sum().item<std::int64_t>() == 14 * 14);
    const std::int64_t top = seen.any(1).nonzero()[0].item<std::int64_t>();
    const std::int64_t left = seen.any(0).nonzero()[0].item<std::int64_t>();
    const Tensor expected = (prediction - batch.x0)[i].narrow(1, top, 14).narrow(2, left, 14).abs().mean();
    CHECK(at::allclose(found.value[i], expected));
    places.emplace(top, left);
  }
  CHECK(places.size() == 9);
  CHECK(m.evaluate(batch, batch.x0).value.count_nonzero().item<std::int64_t>() == 0);
  TrainingBatch alone = m.batch({0.5});
  alone.seeds = {batch.seeds[41]};
  alone.target = batch.x0.narrow(0, 41, 1);
  CHECK(at::allclose(m.evaluate(alone, prediction.narrow(0, 41, 1)).value, found.value.narrow(0, 41, 1)));
  const Metrics whole("crop = 16\n");
  CHECK(at::equal(whole.evaluate(batch, prediction).value, Metrics("").evaluate(batch, prediction).value));
}

TEST_CASE("a crop is cut before images are resized") {
  const Metrics m("crop = 8\nresize = 16\n");
  const TrainingBatch batch = m.batch({0.5});
  const Tensor prediction = fill(3, {1, 3, 16, 16});
  const Tensor seen = m.evaluate(batch, prediction).gradient[0][0].ne(0);
  CHECK(seen.any(0).sum().item<std::int64_t>() == 8);
  CHECK(seen.any(1).sum().item<std::int64_t>() == 8);
}

TEST_CASE("a run with a metric that ends and is rarely computed resumes bit for bit, and records where it was") {
  const TemporaryFolder folder;
  const std::string toml = cascade_head() +
                           "[[metrics]]\ntype = \"l1\"\nuntil_images = 16\n[[metrics]]\ntype = \"l2\"\nevery = "
                           "3\nshare = 0.5\ncrop = 12\nnormalise = \"self\"\nbalance = \"squared_error\"\nmean = "
                           "\"active\"\nnoise_range = [0.0, 0.9]\nnoise_unit = \"flow_time\"\n";
  const Checkpoint whole = run(small_experiment(folder.path(), "whole", toml));
  const Checkpoint half = run(small_experiment(folder.path(), "half", toml, {"train.total_images=16"}));
  const Checkpoint resumed = resume(small_experiment(folder.path(), "half", toml), half);
  for (const auto& [name, tensor] : tensors(whole, "weights.safetensors")) {
    CHECK_MESSAGE(at::equal(tensor, tensors(resumed, "weights.safetensors").at(name)), name);
  }
  for (const Value& record : records(folder.path() / "whole")) {
    const Value* losses = record.find("loss");
    if (losses == nullptr) continue;
    CHECK((losses->find("metric.l1") != nullptr) == (record.find("images")->as_integer() <= 16));
  }
}
