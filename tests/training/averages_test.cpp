#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <doctest/doctest.h>

#include <cmath>

#include "casdm/error.h"
#include "casdm/safetensors.h"
#include "framework/support/checked_tensors.h"
#include "framework/support/files.h"
#include "framework/training/average_rule.h"
#include "framework/training/ema_snapshots.h"
#include "framework/training/module_state.h"
#include "framework/training/power_profile.h"
#include "training/small_run.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

constexpr std::int64_t kSteps = 2000;
constexpr std::int64_t kBatch = 4;

class Scalar final : public Network {
 public:
  Scalar() { value = add_parameter("value", at::zeros({1})); }
  Tensor value;
};

/// The scalar's value after each step: a wave on a slope.
double trajectory(std::int64_t step) {
  const auto s = static_cast<double>(step);
  return std::sin(s / 150) + s / static_cast<double>(kSteps);
}

AverageOptions power(const std::string& name, double sigma_rel) {
  AverageOptions options;
  options.name = name;
  options.sigma_rel = sigma_rel;
  return options;
}

/// The value of a power-function average of the trajectory after `steps`: the recursion's weights telescope to
/// (k^(gamma+1) - (k-1)^(gamma+1)) / steps^(gamma+1).
double closed_form(double sigma_rel, std::int64_t steps) {
  const double power = gamma_of(sigma_rel) + 1;
  const auto share = [&](std::int64_t k) {
    return std::pow(static_cast<double>(k) / static_cast<double>(steps), power);
  };
  double sum = 0;
  for (std::int64_t k = 1; k <= steps; ++k) sum += (share(k) - share(k - 1)) * trajectory(k);
  return sum;
}

/// Moves the scalar along its trajectory; calls `at_step` after each step.
template <class AtStep>
void follow(const EmaOptions& ema, AtStep at_step) {
  auto scalar = std::make_shared<Scalar>();
  std::vector<ModuleState> modules;
  modules.emplace_back(NamedModule{"theta", scalar, true}, optimizer(), ema, c10::Device(c10::kCPU));
  for (std::int64_t step = 1; step <= kSteps; ++step) {
    {
      const at::NoGradGuard no_grad;
      scalar->value.fill_(trajectory(step));
    }
    modules[0].update_averages({step, step * kBatch, kBatch});
    at_step(step, modules);
  }
}

const std::string kAverages = R"([ema]
snapshot_every_images = 8
[[ema.also]]
name = "slow"
decay = 0.5
[[ema.also]]
name = "edm"
half_life = 10
[[ema.also]]
name = "p05"
sigma_rel = 0.05
[[ema.also]]
name = "p10"
sigma_rel = 0.1
)";

/// Files without metadata at 8 and 16 images, each with one tensor.
std::vector<EmaSnapshot> two_snapshots(const std::filesystem::path& folder, const Tensor& values) {
  std::vector<EmaSnapshot> snapshots;
  for (const int images : {8, 16}) {
    EmaSnapshot snapshot{folder / std::to_string(images)};
    snapshot.images = images;
    snapshot.sigma_rel = 0.1;
    write_safetensors(snapshot.path, {{"theta.bias", values}});
    snapshots.push_back(snapshot);
  }
  return snapshots;
}

}  // namespace

TEST_CASE("gamma and sigma_rel are inverses of each other, and agree with EDM2's numbers") {
  for (const double sigma : {kSmallestSigmaRel, 0.005, 0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.28, kLargestSigmaRel}) {
    CHECK(sigma_rel_of(gamma_of(sigma)) == doctest::Approx(sigma).epsilon(1e-12));
  }
  // Karras et al. 2024, section 3.1: gamma = 16.97 and 6.94 for widths of 5 % and 10 %.
  CHECK(std::round(gamma_of(0.05) * 100) == 1697);
  CHECK(std::round(gamma_of(0.10) * 100) == 694);
  CHECK(gamma_of(kLargestSigmaRel) == doctest::Approx(0).epsilon(1e-6));
  for (const double wrong : {0.0, -0.1, 1e-170, 0.2887, 1.0, std::nan("")}) {
    CHECK_THROWS_WITH_AS(gamma_of(wrong), doctest::Contains("1e-06 <= sigma_rel <= 0.288"), ConfigError);
  }
}

TEST_CASE("a profile has its width, and inner products are integrals") {
  const PowerProfile a{gamma_of(0.1), 3.0}, b{gamma_of(0.06), 2.0};
  const auto density = [](const PowerProfile& p, double s) {
    return s > p.end ? 0 : (p.gamma + 1) * std::pow(s, p.gamma) / std::pow(p.end, p.gamma + 1);
  };
  constexpr int kPoints = 300000;
  double mass = 0, mean = 0, square = 0, product = 0;
  for (int i = 0; i < kPoints; ++i) {
    const double s = 3.0 * (i + 0.5) / kPoints;
    const double p = density(a, s) * 3.0 / kPoints;
    mass += p;
    mean += p * s;
    square += p * s * s;
    product += p * density(b, s);
  }
  // The midpoint rule, with a jump of b at s = 2.
  CHECK(mass == doctest::Approx(1).epsilon(1e-6));
  CHECK(std::sqrt(square - mean * mean) / 3.0 == doctest::Approx(0.1).epsilon(1e-6));
  CHECK(inner_product(a, b) == doctest::Approx(product).epsilon(1e-4));
  CHECK(inner_product(b, a) == inner_product(a, b));
}

TEST_CASE("each rule keeps the share that its formula says") {
  AverageOptions half_life;
  half_life.name = "edm";
  half_life.half_life = 500;
  const AverageRule edm(half_life, true);
  // Karras et al. 2022: 0.5^(batch / min(half-life, 5 % of the images before the step)).
  CHECK(edm.keep({1, 100, 100}) == 0);
  CHECK(edm.keep({41, 4100, 100}) == doctest::Approx(std::pow(0.5, 100.0 / 200.0)));
  CHECK(edm.keep({400, 40000, 100}) == doctest::Approx(std::pow(0.5, 100.0 / 500.0)));
  half_life.rampup_ratio = 0;
  CHECK(AverageRule(half_life, true).keep({1, 100, 100}) == doctest::Approx(std::pow(0.5, 100.0 / 500.0)));

  const AverageRule p10(power("p10", 0.1), true);
  CHECK(p10.keep({1, 100, 100}) == 0);
  CHECK(p10.keep({10, 1000, 100}) == doctest::Approx(std::pow(0.9, gamma_of(0.1) + 1)));

  EmaOptions main;
  main.decay = 0.99;
  CHECK(AverageRule(main).keep({10, 40, 4}) == doctest::Approx(11.0 / 20.0));
  CHECK(AverageRule(main).keep({100000, 400000, 4}) == 0.99);
  main.half_life = 500;
  CHECK(AverageRule(main).keep({400, 40000, 100}) == doctest::Approx(std::pow(0.5, 100.0 / 500.0)));
}

TEST_CASE("a power-function average weights every step by its profile") {
  EmaOptions ema;
  ema.also = {power("p05", 0.05), power("p20", 0.2)};
  follow(ema, [](std::int64_t step, const std::vector<ModuleState>& modules) {
    if (step % 500 != 0 && step > 3) return;
    // float32: a rounding of 6e-8 per step, damped by the average.
    CHECK(modules[0].average(1)[0].second.item<double>() == doctest::Approx(closed_form(0.05, step)).epsilon(1e-5));
    CHECK(modules[0].average(2)[0].second.item<double>() == doctest::Approx(closed_form(0.2, step)).epsilon(1e-5));
  });
}

TEST_CASE("an average made after training from snapshots equals the one made during training") {
  const TemporaryFolder folder;
  const RunFolder run = RunFolder::create(folder.path() / "run", Value{Value::Table{}});
  EmaOptions ema;
  ema.also = {power("p05", 0.05), power("p10", 0.1)};
  ema.snapshot_every_images = kSteps / 32 * kBatch;
  follow(ema, [&](std::int64_t step, const std::vector<ModuleState>& modules) {
    if (step * 32 % kSteps < 32) save_ema_snapshots(run, snapshots_of(modules, step * kBatch));
  });
  // Files with other names are not snapshots.
  for (const char* name : {"5-0.05.safetensors", "000000000005-0.050.safetensors", "000000000005-nan.safetensors",
                           "000000000000-0.05.safetensors", "000000000005-7.0.safetensors", "notes.safetensors"}) {
    write_file(run.ema() / name, "mine");
  }
  const std::vector<EmaSnapshot> snapshots = ema_snapshots(run);
  // A snapshot of version 0.1, which records nothing, is read; one with an incomplete record is not.
  const NamedTensors content = read_safetensors(snapshots[0].path).tensors;
  write_safetensors(snapshots[0].path, content, {{"images", std::to_string(snapshots[0].images)}});
  CHECK_THROWS_WITH_AS(reconstruct_ema(snapshots, 0.05, snapshots.back().images), doctest::Contains("is altered"),
                       Error);
  write_safetensors(snapshots[0].path, content);
  REQUIRE(snapshots.size() == 64);
  for (const double sigma : {0.03, 0.05, 0.07, 0.1, 0.15, 0.2}) {
    const Reconstruction average = reconstruct_ema(snapshots, sigma, kSteps * kBatch);
    const double value = average.tensors.at(0).second.item<double>();
    const double difference = std::abs(value - closed_form(sigma, kSteps));
    MESSAGE("sigma_rel ", sigma, ": difference ", difference, ", error of the profile ", average.error);
    CHECK(average.tensors.at(0).first == "theta.value");
    CHECK((average.tensors.at(0).second.scalar_type() == at::kFloat));
    // By Cauchy-Schwarz, at most the profile's error times the norms of profile and trajectory, about 3; float32 sums.
    CHECK(difference < 3 * average.error + 1e-5);
    CHECK(average.error < (sigma < 0.05 || sigma > 0.1 ? 0.02 : 0.002));
  }
  // A plain average of the two is far off, so the combination has an effect.
  CHECK(std::abs(closed_form(0.05, kSteps) - closed_form(0.07, kSteps)) > 1e-2);
}

TEST_CASE("snapshots whose combination is not finite are refused") {
  const TemporaryFolder folder;
  const Tensor values = at::full({2}, std::numeric_limits<float>::infinity());
  const std::vector<EmaSnapshot> snapshots = two_snapshots(folder.path(), values);
  CHECK_THROWS_WITH_AS(reconstruct_ema(snapshots, 0.08, 16),
                       doctest::Contains("values in theta.bias that are not finite"), Error);
}

TEST_CASE("snapshots without a checksum are counted, and refused after one with it") {
  const TemporaryFolder folder;
  const std::vector<EmaSnapshot> snapshots = two_snapshots(folder.path(), at::ones({2}));
  CHECK(reconstruct_ema(snapshots, 0.1, 16).unchecked == 2);
  write_checked_tensors(snapshots[0].path, {{"theta.bias", at::ones({2})}}, {{"images", "8"}, {"sigma_rel", "0.1"}});
  CHECK_THROWS_WITH_AS(reconstruct_ema(snapshots, 0.1, 16), doctest::Contains("records nothing, unlike earlier ones"),
                       Error);
}

TEST_CASE("coefficients agree with numpy's solution, add up to 1, and select an existing average exactly") {
  std::vector<PowerProfile> from;
  for (int i = 1; i <= 4; ++i) {
    for (const double sigma : {0.05, 0.1}) from.push_back({gamma_of(sigma), static_cast<double>(i)});
  }
  // numpy.linalg.solve on the correlations of EDM2's phema.py.
  const std::vector<double> numpy = {1.33526449e-07, -1.82504430e-06, 1.79241909e-04, -9.71387660e-04,
                                     1.14414121e-02, -4.17545904e-02, 2.50539224e-01, 7.80567792e-01};
  const Combination combination = combine(from, {gamma_of(0.08), 4.0});
  double sum = 0;
  for (std::size_t i = 0; i < from.size(); ++i) {
    CHECK(std::abs(combination.coefficients[i] - numpy[i]) < 1e-8);
    sum += combination.coefficients[i];
  }
  CHECK(sum == doctest::Approx(1).epsilon(1e-12));
  const Combination same = combine(from, from[5]);
  for (std::size_t i = 0; i < from.size(); ++i) CHECK(std::abs(same.coefficients[i] - (i == 5 ? 1 : 0)) < 1e-8);
  CHECK(same.error < 1e-6);
}

TEST_CASE("a stopped and resumed run has bitwise the averages and snapshots of the uninterrupted one") {
  const TemporaryFolder folder;
  const Checkpoint whole = run(small_experiment(folder.path(), "whole", single_head() + kAverages));
  const Checkpoint half =
      run(small_experiment(folder.path(), "parts", single_head() + kAverages, {"train.total_images=12"}));
  const LoadedExperiment rest = small_experiment(folder.path(), "parts", single_head() + kAverages);
  RunFolder parts = RunFolder::open(folder.path() / "parts");
  train(rest, parts, half);
  const auto hash = [&](const char* run, const std::string& file) {
    return sha256_of_file(folder.path() / run / file);
  };
  for (const char* name : {"ema", "ema-slow", "ema-edm", "ema-p05", "ema-p10"}) {
    const std::string file = std::string("checkpoints/000000000032/") + name + ".safetensors";
    CHECK_MESSAGE(hash("whole", file) == hash("parts", file), name);
  }
  CHECK(hash("whole", "checkpoints/000000000032/ema.safetensors") !=
        hash("whole", "checkpoints/000000000032/ema-p05.safetensors"));
  const std::vector<EmaSnapshot> snapshots = ema_snapshots(RunFolder::open(folder.path() / "whole"));
  REQUIRE(snapshots.size() == 8);
  CHECK(snapshots[3].images == 16);
  CHECK(snapshots[3].sigma_rel == 0.1);
  for (const EmaSnapshot& snapshot : snapshots) {
    const std::string file = "ema/" + snapshot.path.filename().string();
    CHECK_MESSAGE(hash("whole", file) == hash("parts", file), file);
  }
  // The last snapshot is the checkpoint's average.
  const std::map<std::string, Tensor> average = tensors(whole, "ema-p10.safetensors");
  const std::map<std::string, Tensor> last = tensors(whole, "../../ema/000000000032-0.1.safetensors");
  REQUIRE(last.size() == average.size());
  for (const auto& [name, tensor] : average) CHECK_MESSAGE(at::equal(last.at(name), tensor), name);
}

TEST_CASE("further averages change nothing else, and one younger than the run is refused") {
  const TemporaryFolder folder;
  const Checkpoint plain = run(small_experiment(folder.path(), "plain", single_head()));
  const Checkpoint more = run(small_experiment(folder.path(), "more", single_head() + kAverages));
  for (const char* file : {"weights.safetensors", "ema.safetensors", "optimizer.safetensors"}) {
    CHECK_MESSAGE(sha256_of_file(plain.path() / file) == sha256_of_file(more.path() / file), file);
  }
  const LoadedExperiment longer =
      small_experiment(folder.path(), "plain", single_head() + kAverages, {"train.total_images=40"});
  RunFolder run_folder = RunFolder::open(folder.path() / "plain");
  CHECK_THROWS_WITH_AS(train(longer, run_folder, plain), doctest::Contains("has no ema-edm.safetensors"), Error);
}

TEST_CASE("weights are chosen by name or file, and for others the message lists what there is") {
  const TemporaryFolder folder;
  const LoadedExperiment experiment = small_experiment(folder.path(), "run", single_head() + kAverages);
  const Checkpoint checkpoint = run(experiment);
  const Model model = make_model(experiment, 0);
  const NamedTensors parameters = model.modules[0].module->parameters();
  const auto loaded = [&](const std::string& which) {
    checkpoint.load_weights(model.modules, which);
    return parameters[0].second.detach().clone();
  };
  const std::string name = "theta." + parameters[0].first;
  CHECK(at::equal(loaded("raw"), tensors(checkpoint, "weights.safetensors").at(name)));
  CHECK(at::equal(loaded("ema"), tensors(checkpoint, "ema.safetensors").at(name)));
  CHECK(at::equal(loaded("p10"), tensors(checkpoint, "ema-p10.safetensors").at(name)));
  CHECK(at::equal(loaded((checkpoint.path() / "ema-edm.safetensors").string()),
                  tensors(checkpoint, "ema-edm.safetensors").at(name)));
  CHECK_THROWS_WITH_AS(loaded("p20"), doctest::Contains("has raw, ema, edm, p05, p10, slow"), ConfigError);
}
