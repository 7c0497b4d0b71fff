#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>
#include <numbers>

#include "casdm/error.h"
#include "framework/training/learning_rate.h"
#include "framework/training/loss_scaler.h"
#include "framework/training/periodic.h"
#include "framework/training/step_record.h"
#include "framework/training/training_step.h"

using namespace casdm;

namespace {

constexpr TimeRange kTimes{.first = 0, .last = 39, .clean = -1, .is_whole = true};

OptimizerOptions with_schedule(RateSchedule schedule) {
  OptimizerOptions options;
  options.learning_rate = 0.5;
  options.warmup_images = 100;
  options.schedule = schedule;
  return options;
}

Losses one_part(std::vector<std::string> names, double value) {
  Losses losses;
  for (const std::string& name : names) losses.terms.push_back({name, at::full({2}, value), 1, "theta"});
  return losses;
}

/// A step of two images at t = 1 and 30 of 40, with the term "eps" and the statistic "gate".
StepRecord step_with(float eps) {
  StepRecord record;
  record.step = 1;
  record.t = at::tensor({1, 30}, at::kDouble);
  Losses losses = one_part({"eps"}, eps);
  losses.statistics.push_back({"gate", at::tensor({0.25, 0.75})});
  record.add_part(losses);
  record.modules = {"theta"};
  record.grad_norms = at::tensor({3.0}, at::kFloat);
  record.fetch();
  return record;
}

}  // namespace

TEST_CASE("the learning rate rises to its value, stays, or falls to zero at the end") {
  for (const RateSchedule schedule : {RateSchedule::constant, RateSchedule::linear, RateSchedule::cosine}) {
    CHECK(learning_rate(with_schedule(schedule), 0, 1100) == 0);
    CHECK(learning_rate(with_schedule(schedule), 25, 1100) == doctest::Approx(0.125));
    CHECK(learning_rate(with_schedule(schedule), 100, 1100) == doctest::Approx(0.5));
  }
  CHECK(learning_rate(with_schedule(RateSchedule::constant), 1100, 1100) == 0.5);
  CHECK(learning_rate(with_schedule(RateSchedule::linear), 350, 1100) == doctest::Approx(0.375));
  CHECK(learning_rate(with_schedule(RateSchedule::cosine), 350, 1100) ==
        doctest::Approx(0.25 * (1 + std::cos(std::numbers::pi / 4))));
  CHECK(learning_rate(with_schedule(RateSchedule::cosine), 600, 1100) == doctest::Approx(0.25));
  for (const RateSchedule schedule : {RateSchedule::linear, RateSchedule::cosine}) {
    CHECK(learning_rate(with_schedule(schedule), 1100, 1100) == doctest::Approx(0));
    CHECK(learning_rate(with_schedule(schedule), 1200, 1100) == doctest::Approx(0));
  }
  // Longer than the training: only warm-up.
  CHECK(learning_rate(with_schedule(RateSchedule::cosine), 50, 60) == doctest::Approx(0.25));
}

TEST_CASE("the learning rate falls as one over the root of the images, starting at the reference") {
  OptimizerOptions options = with_schedule(RateSchedule::inverse_sqrt);
  options.reference_images = 400;
  CHECK(learning_rate(options, 50, 1100) == doctest::Approx(0.25));
  CHECK(learning_rate(options, 400, 1100) == 0.5);
  CHECK(learning_rate(options, 1600, 1100) == doctest::Approx(0.25));
  CHECK(learning_rate(options, 40000, 1100) == doctest::Approx(0.05));
  options.reference_images = 0;
  CHECK(learning_rate(options, 400, 1100) == doctest::Approx(0.25));
  // During warm-up both factors apply.
  options.reference_images = 25;
  CHECK(learning_rate(options, 50, 1100) == doctest::Approx(0.25 / std::sqrt(2)));
}

TEST_CASE("the learning rate warms up, is stable, and decays at the end") {
  OptimizerOptions options = with_schedule(RateSchedule::wsd);
  options.decay_images = 300;
  CHECK(learning_rate(options, 50, 1100) == doctest::Approx(0.25));
  CHECK(learning_rate(options, 800, 1100) == 0.5);
  CHECK(learning_rate(options, 950, 1100) == doctest::Approx(0.25));
  CHECK(learning_rate(options, 1100, 1100) == 0);
  // A fifth of the training by default, so a longer training moves it.
  options.decay_images = 0;
  CHECK(learning_rate(options, 880, 1100) == 0.5);
  CHECK(learning_rate(options, 990, 1100) == doctest::Approx(0.25));
  CHECK(learning_rate(options, 990, 2200) == 0.5);
}

TEST_CASE("schedules that decay to the end decay to the final fraction") {
  for (const RateSchedule schedule : {RateSchedule::linear, RateSchedule::cosine, RateSchedule::wsd}) {
    CAPTURE(to_string(schedule));
    OptimizerOptions options = with_schedule(schedule);
    options.final_fraction = 0.1;
    CHECK(learning_rate(options, 100, 1100) == 0.5);
    CHECK(learning_rate(options, 1100, 1100) == doctest::Approx(0.05));
    CHECK(learning_rate(options, 1200, 1100) == doctest::Approx(0.05));
  }
  OptimizerOptions halfway = with_schedule(RateSchedule::linear);
  halfway.final_fraction = 0.1;
  CHECK(learning_rate(halfway, 600, 1100) == doctest::Approx(0.5 * 0.55));
}

TEST_CASE("every schedule that an experiment can choose has a formula") {
  for (const auto& [schedule, word] : choices_of(RateSchedule{})) {
    CAPTURE(word);
    CHECK(learning_rate(with_schedule(schedule), 100, 1100) == 0.5);
  }
}

TEST_CASE("periodic work is due when a multiple was reached or passed, and at the end if requested") {
  const Periodic task{10, true, {}};
  CHECK_FALSE(task.is_due(0, 4, 100));
  CHECK_FALSE(task.is_due(4, 8, 100));
  CHECK(task.is_due(8, 12, 100));
  CHECK(task.is_due(6, 10, 100));
  CHECK_FALSE(task.is_due(10, 14, 100));
  CHECK(task.is_due(4, 64, 100));
  CHECK(task.is_due(99, 103, 100));
  CHECK_FALSE(Periodic{0, false, {}}.is_due(8, 12, 100));
  CHECK_FALSE(Periodic{0, false, {}}.is_due(96, 100, 100));
  CHECK(Periodic{0, true, {}}.is_due(96, 100, 100));
}

TEST_CASE("clipping uses each module's norm, or the norm of all") {
  OptimizerOptions options;
  options.clip_norm = 2;
  const std::vector<Tensor> norms = {at::full({}, 3.0), at::full({}, 4.0), at::full({}, 0.5)};
  std::vector<Tensor> factors = clipping_factors(norms, {options, options, options});
  CHECK(factors[0].item<double>() == doctest::Approx(2.0 / 3).epsilon(1e-5));
  CHECK(factors[1].item<double>() == doctest::Approx(0.5).epsilon(1e-5));
  CHECK(factors[2].item<double>() == 1);
  options.grouping = Grouping::joint;
  factors = clipping_factors(norms, {options, options, options});
  for (const Tensor& factor : factors) {
    CHECK(factor.item<double>() == doctest::Approx(2 / std::sqrt(25.25)).epsilon(1e-5));
  }
}

TEST_CASE("modules with their own clip_norm are clipped to it") {
  std::vector<OptimizerOptions> modules(3);
  modules[0].clip_norm = 6;
  modules[1].clip_norm = 1;
  modules[2].clip_norm = 0;
  const std::vector<Tensor> factors =
      clipping_factors({at::full({}, 3.0), at::full({}, 4.0), at::full({}, 5.0)}, modules);
  CHECK(factors[0].item<double>() == 1);
  CHECK(factors[1].item<double>() == doctest::Approx(0.25).epsilon(1e-5));
  CHECK(factors[2].item<double>() == 1);
}

TEST_CASE("parts of a batch are matched by the names of their terms") {
  StepRecord record;
  record.add_part(one_part({"eps", "x0"}, 1));
  Losses swapped = one_part({"x0", "eps"}, 2);
  swapped.terms[0].value = at::full({2}, 3.0);
  record.add_part(swapped);
  record.grad_norms = at::zeros({0});
  record.fetch();
  CHECK(record.terms == std::vector<std::string>{"eps", "x0"});
  CHECK(at::equal(record.values, at::tensor({1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 3.0, 3.0}, at::kFloat).view({2, 4})));

  StepRecord incomplete;
  incomplete.add_part(one_part({"eps", "x0"}, 1));
  CHECK_THROWS_WITH_AS(incomplete.add_part(one_part({"eps"}, 1)), doctest::Contains("'x0'"), PluginError);
  StepRecord surplus;
  surplus.add_part(one_part({"eps"}, 1));
  CHECK_THROWS_WITH_AS(surplus.add_part(one_part({"eps", "x0"}, 1)), doctest::Contains("'x0'"), PluginError);
}

TEST_CASE("a head may use the memory of a term again for the next part of a batch") {
  StepRecord record;
  const Tensor reused = at::ones({2});
  for (const double value : {1.0, 3.0}) {
    Losses part = one_part({"eps"}, 1);
    part.terms[0].value = reused.fill_(value);
    record.add_part(part);
  }
  record.grad_norms = at::zeros({0});
  record.fetch();
  CHECK(at::equal(record.values, at::tensor({1.0, 1.0, 3.0, 3.0}, at::kFloat).view({1, 4})));
}

TEST_CASE("a term without a gradient in one part keeps the weight it has in the other") {
  StepRecord record;
  Losses first = one_part({"metric.l1"}, 1);
  first.terms[0].value.requires_grad_(true);
  first.terms[0].weight = 0.5;
  record.add_part(first);
  record.add_part(one_part({"metric.l1"}, 0));
  CHECK(record.term_weights == std::vector<double>{0.5});
}

TEST_CASE("quarters count from the clean image, also on a path that begins after it") {
  StepStatistics statistics({.first = 0.5, .last = 1, .clean = 0, .is_whole = false});
  StepRecord record = step_with(1);
  record.t = at::tensor({0.6, 0.9}, at::kDouble);
  statistics.add(record);
  const Value json = statistics.json();
  const Value::Array& gates = json.find("statistic")->find("gate")->find("by_t")->as_array();
  CHECK((gates[0].is_null() && gates[1].is_null()));
  CHECK((gates[2].as_number() == 0.25 && gates[3].as_number() == 0.75));
}

TEST_CASE("terms that come and go between steps are each averaged over the steps that have them") {
  StepStatistics statistics(kTimes);
  statistics.add(step_with(1));
  StepRecord other = step_with(5);
  other.terms = {"x0"};
  statistics.add(other);
  const Value json = statistics.json();
  CHECK(json.find("loss")->find("eps")->find("mean")->as_number() == 1);
  CHECK(json.find("loss")->find("x0")->find("mean")->as_number() == 5);
  CHECK(json.find("statistic")->find("gate")->find("by_t")->as_array()[0].as_number() == 0.25);
  CHECK(json.find("statistic")->find("gate")->find("by_t")->as_array()[1].is_null());
  const Value& histogram = *json.find("statistic")->find("gate")->find("histogram");
  REQUIRE(histogram.as_array().size() == 4);
  const Value::Array& least_noise = histogram.as_array()[0].as_array();
  REQUIRE(least_noise.size() == 20);
  CHECK(least_noise[5] == Value(2));  // 0.25 in both steps, in [0.25, 0.3)
  CHECK(std::count(least_noise.begin(), least_noise.end(), Value(0)) == 19);
  CHECK(json.find("grad_norm")->find("theta")->as_number() == 3);
}

TEST_CASE("sums survive a checkpoint's JSON without loss") {
  StepStatistics whole(kTimes), parts(kTimes);
  whole.add(step_with(0.1F));
  whole.add(step_with(0.7F));
  parts.add(step_with(0.1F));
  StepStatistics later(kTimes);
  later.restore(from_json(to_json(parts.state())));
  later.add(step_with(0.7F));
  CHECK(to_json(later.json()) == to_json(whole.json()));
  CHECK(to_json(later.state()) == to_json(whole.state()));
  for (const char* broken :
       {"{}", R"({"loss": {"eps": {}}, "statistic": {}, "grad_norm": {}})",
        R"({"loss": {"eps": {"sum": [1, 2, 3, 4], "count": [1, 1, 1, -1]}}, "statistic": {},
                                 "grad_norm": {}})",
        R"({"loss": {}, "statistic": {}, "grad_norm": {}, "gate_histogram": [[1], [], [], []]})"}) {
    CHECK_THROWS_AS(later.restore(from_json(broken)), Error);
  }
}

TEST_CASE("loss scales are restored by module, a shared one from the smallest, and never in part") {
  const std::vector<NamedModule> modules = {{"theta", nullptr, true}, {"phi", nullptr, true}};
  LossScaler trained(modules, Precision::fp16, true);
  StepRecord record;
  record.modules = {"theta", "phi"};
  record.grad_norms = at::tensor({1.0, INFINITY}, at::kFloat);
  trained.observe(record);
  trained.update();

  LossScaler again(modules, Precision::fp16, true);
  again.restore(from_json(to_json(trained.state())));
  CHECK(again.scale("theta") == 65536);
  CHECK(again.scale("phi") == 32768);
  CHECK(to_json(again.state()) == to_json(trained.state()));

  LossScaler joint(modules, Precision::fp16, false);
  joint.restore(trained.state());
  CHECK(joint.scale("theta") == 32768);
  LossScaler separate(modules, Precision::fp16, true);
  separate.restore(joint.state());
  CHECK(separate.scale("theta") == 32768);

  // As written by version 0.1: scale and good steps, in the order of names.
  LossScaler old(modules, Precision::fp16, true);
  old.restore(from_json("[32768, 0, 65536, 7]"));
  CHECK(old.scale("phi") == 32768);
  CHECK(old.scale("theta") == 65536);

  LossScaler plain(modules, Precision::fp32, true);
  plain.restore(trained.state());
  CHECK(plain.scale("phi") == 1);

  for (const char* broken :
       {R"({"theta": {"scale": 65536, "good_steps": 0}})", R"({"theta": {"scale": 65536}})",
        R"({"theta": {"scale": 0, "good_steps": 0}, "phi": {"scale": 1, "good_steps": 0}})", "[1, 2, 3]"}) {
    CHECK_THROWS_AS(LossScaler(modules, Precision::fp16, true).restore(from_json(broken)), Error);
  }
}

TEST_CASE("after an overflow in fp16, losses that are not finite are left out of the means") {
  StepStatistics statistics(kTimes);
  statistics.add(step_with(1));
  statistics.add(step_with(INFINITY));
  CHECK(statistics.mean("eps") == 1);
  CHECK_THROWS_WITH_AS(step_with(INFINITY).check_terms(), doctest::Contains("loss term 'eps' is inf at t = 1"),
                       NotFinite);
}
