#include "framework/sampling/guidance.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>

#include "casdm/error.h"
#include "casdm/random.h"
#include "casdm/text.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

constexpr std::int64_t kSteps = 100;
constexpr double kMean = 0.4;
constexpr double kVariance = 0.04;

std::shared_ptr<const BetaSchedule> cosine() {
  return make_beta_schedule("cosine", text("num_train_timesteps = ", kSteps), {});
}

/// The exact model of pixels from two classes, N(-m, v) and N(m, v), equally frequent; label 2 is "none".
class TwoClasses final : public CascadeHead {
 public:
  explicit TwoClasses(std::shared_ptr<const BetaSchedule> schedule) : schedule_(std::move(schedule)) {}

  std::vector<NamedModule> modules() const override { return {}; }
  Losses losses(const TrainingBatch&, const MetricTerms&) override { return {}; }
  Estimate estimate(const EstimateInput& input) override {
    const auto& [x_t, t, t_next, condition] = input;
    const Tensor& labels = condition.labels;
    ++calls;
    const Tensor a = testing::gather(schedule_->alphas_cumprod(), t, x_t);
    const Tensor variance = kVariance * a + 1 - a;
    const Tensor shift = kMean * a.sqrt();
    const Tensor own = (2 * labels - 1).to(x_t.scalar_type()).reshape({-1, 1, 1, 1});
    const Tensor mean_sign = at::where(labels.eq(2).reshape({-1, 1, 1, 1}), (shift * x_t / variance).tanh(), own);
    Estimate estimate;
    estimate.eps = (1 - a).sqrt() * (x_t - shift * mean_sign) / variance;
    estimate.x0_from_eps = schedule_->predict_x0_from_eps(x_t, t, estimate.eps);
    return estimate;
  }

  int calls = 0;

 private:
  std::shared_ptr<const BetaSchedule> schedule_;
};

Model model_of(std::shared_ptr<CascadeHead> head, std::int64_t null_label, double scale,
               std::array<double, 2> interval = {0, 1}) {
  Model model;
  model.schedule = cosine();
  model.head = std::move(head);
  model.null_label = null_label;
  model.guidance.scale = scale;
  model.guidance.interval = interval;
  return model;
}

Tensor draw(std::uint64_t seed, at::IntArrayRef shape, at::ScalarType dtype = at::kFloat) {
  return at::empty(shape, at::kDouble).normal_(0, 1, make_generator(seed)).to(dtype);
}

/// Cas-DM with real networks for 16-pixel images and three classes, the last of which is "none".
std::shared_ptr<CascadeHead> cascade() {
  const std::string unet =
      "type = \"unet\"\nchannels = 8\nchannel_mult = [1, 2]\nnum_res_blocks = 1\nattention_resolutions = []\ngroups = "
      "4\n";
  CascadeHead::Spec spec;
  spec.image.height = spec.image.width = 16;
  spec.condition.num_classes = 3;
  spec.schedule = cosine();
  spec.factory = &factory();
  auto head = make<CascadeHead>("cascade", "[theta]\n" + unet + "[phi]\n" + unet, spec);
  for (const NamedModule& module : head->modules()) {
    fill_state(state(*module.module));
    module.module->train(false);
  }
  return head;
}

void check_same(const Estimate& a, const Estimate& b) {
  CHECK(at::equal(a.eps, b.eps));
  CHECK(at::equal(a.x0_from_eps, b.x0_from_eps));
  CHECK(at::equal(a.x0, b.x0));
  CHECK(at::equal(a.gate, b.gate));
}

}  // namespace

TEST_CASE("guided noise is the score of p(x | label)^s p(x)^(1-s)") {
  const auto schedule = cosine();
  const Tensor x = draw(1, {2, 1, 3, 3}, at::kDouble);
  const Tensor labels = at::tensor({0, 1}, at::kLong);
  const Tensor sign = at::tensor({-1.0, 1.0}, at::kDouble).reshape({2, 1, 1, 1});
  for (const double scale : {0.5, 1.5, 4.0}) {
    for (const std::int64_t t : {0, 30, 99}) {
      const double a = schedule->alphas_cumprod()[static_cast<std::size_t>(t)];
      const double variance = kVariance * a + 1 - a;
      const auto log_density = [&](const Tensor& at_x) {
        const Tensor negative = -(at_x + kMean * std::sqrt(a)).square() / (2 * variance);
        const Tensor positive = -(at_x - kMean * std::sqrt(a)).square() / (2 * variance);
        const Tensor of_label = at::where(sign.lt(0), negative, positive);
        return scale * of_label + (1 - scale) * at::logaddexp(negative, positive);
      };
      const double h = 1e-5;
      const Tensor score = (log_density(x + h) - log_density(x - h)) / (2 * h);
      const Model model = model_of(std::make_shared<TwoClasses>(schedule), 2, scale);
      const Estimate guided = guided_estimate(model, x, {static_cast<double>(t)}, {.labels = labels});
      // Central differences have errors of h^2 from truncation and 1e-16 / h from rounding, times the density's
      // curvature.
      CHECK(max_relative_difference(guided.eps, -std::sqrt(1 - a) * score) < 1e-7);
      const Tensor implied = schedule->predict_x0_from_eps(x, at::full({2}, t, at::kLong), guided.eps);
      // At t = 99 the noise is divided by sqrt(A) = 5e-4 or less: a rounding error of 1e-16 becomes 1e-12.
      CHECK(max_relative_difference(guided.x0_from_eps, implied) < 1e-11);
    }
  }
}

TEST_CASE("scale 1 is the estimate at the label and scale 0 the one without, bit for bit and in one evaluation") {
  const auto head = cascade();
  const Tensor x = draw(2, {2, 3, 16, 16});
  const Tensor labels = at::tensor({0, 1}, at::kLong);
  const Tensor t = at::full({2}, 40.0, at::kFloat);
  check_same(guided_estimate(model_of(head, 2, 1), x, {40}, {.labels = labels}),
             head->estimate({x, t, {}, {.labels = labels}}));
  check_same(guided_estimate(model_of(head, 2, 0), x, {40}, {.labels = labels}),
             head->estimate({x, t, {}, {.labels = at::full_like(labels, 2)}}));
  const auto counted = std::make_shared<TwoClasses>(cosine());
  for (const double scale : {1.0, 0.0, 3.0}) guided_estimate(model_of(counted, 2, scale), x, {40}, {.labels = labels});
  CHECK(counted->calls == 3);
}

TEST_CASE("both clean images are guided, and the gate is that of the label") {
  const auto head = cascade();
  const Tensor x = draw(3, {2, 3, 16, 16});
  const Tensor labels = at::tensor({1, 0}, at::kLong);
  const Tensor t = at::full({2}, 40.0, at::kFloat);
  const Estimate with = head->estimate({x, t, {}, {.labels = labels}});
  const Estimate without = head->estimate({x, t, {}, {.labels = at::full_like(labels, 2)}});
  REQUIRE(max_relative_difference(with.x0, without.x0) > 1e-2);
  const Estimate guided = guided_estimate(model_of(head, 2, 3), x, {40}, {.labels = labels});
  // Networks round differently for a batch of four instead of two.
  CHECK(max_relative_difference(guided.eps, 3 * with.eps - 2 * without.eps) < 1e-5);
  CHECK(max_relative_difference(guided.x0_from_eps, 3 * with.x0_from_eps - 2 * without.x0_from_eps) < 1e-5);
  CHECK(max_relative_difference(guided.x0, 3 * with.x0 - 2 * without.x0) < 1e-5);
  CHECK(max_relative_difference(guided.gate, with.gate) < 1e-5);
}

TEST_CASE("outside the interval nothing is guided") {
  const auto head = cascade();
  const Tensor x = draw(4, {1, 3, 16, 16});
  const Tensor labels = at::tensor({1}, at::kLong);
  const Model model = model_of(head, 2, 3, {0.2, 0.6});
  CHECK(guidance_scale(model.guidance, model.schedule->fraction(18)) == 1);
  CHECK(guidance_scale(model.guidance, model.schedule->fraction(19)) == 3);
  CHECK(guidance_scale(model.guidance, model.schedule->fraction(59)) == 3);
  CHECK(guidance_scale(model.guidance, model.schedule->fraction(59.5)) == 1);
  check_same(guided_estimate(model, x, {80}, {.labels = labels}),
             head->estimate({x, at::full({1}, 80.0, at::kFloat), {}, {.labels = labels}}));
}

TEST_CASE("a gate with fewer dimensions than images is the same for both halves of a guided batch") {
  /// Two clean images and a gate that mixes them equally.
  class Gated final : public CascadeHead {
   public:
    explicit Gated(Tensor gate) : gate_(std::move(gate)) {}
    std::vector<NamedModule> modules() const override { return {}; }
    Losses losses(const TrainingBatch&, const MetricTerms&) override { return {}; }
    Estimate estimate(const EstimateInput& input) override {
      return {input.x_t.to(at::kDouble), input.x_t, input.x_t, gate_, gate_};
    }

   private:
    Tensor gate_;
  };
  const Tensor x = draw(1, {2, 1, 4, 4});
  for (const Tensor& gate : {at::full({}, 0.5), at::full({4}, 0.5), at::full({4, 4}, 0.5), at::full({1, 4, 4}, 0.5)}) {
    Condition condition;
    condition.labels = at::zeros({2}, at::kLong);
    const Model model = model_of(std::make_shared<Gated>(gate), 2, 3.0);
    const Estimate estimate = guided_estimate(model, x, {50, 49, false}, condition);
    CHECK(at::equal(estimate.gate, gate));
    CHECK(at::equal(estimate.variance, gate));
    CHECK((estimate.eps.scalar_type() == at::kFloat));
  }
}

TEST_CASE("a head that changes its input images is refused") {
  class Spoiling final : public CascadeHead {
   public:
    std::vector<NamedModule> modules() const override { return {}; }
    Losses losses(const TrainingBatch&, const MetricTerms&) override { return {}; }
    Estimate estimate(const EstimateInput& input) override {
      if (!input.condition.extras.empty()) {
        const Tensor& extra = input.condition.extras.begin()->second;
        (hides_it ? extra.data() : extra).mul_(0.5);
        return {input.x_t, input.x_t, {}, {}, {}};
      }
      const Tensor x_t = hides_it ? input.x_t.data() : input.x_t;  // LibTorch does not count changes by data()
      return {input.x_t, Tensor(x_t).mul_(2), {}, {}, {}};
    }
    bool hides_it = false;
  };
  const auto head = std::make_shared<Spoiling>();
  const Model model = model_of(head, 2, 1.0);
  for (const bool hides_it : {false, true}) {
    head->hides_it = hides_it;
    CHECK_THROWS_WITH_AS(guided_estimate(model, draw(1, {2, 1, 4, 4}), {50, 49, false}, {}),
                         doctest::Contains("it changed the images x_t that it was given"), PluginError);
  }
  Condition condition;
  condition.extras.emplace("mask", at::ones({2, 1}));
  for (const bool hides_it : {false, true}) {
    head->hides_it = hides_it;
    CHECK_THROWS_WITH_AS(guided_estimate(model, draw(1, {2, 1, 4, 4}), {50, 49, false}, condition),
                         doctest::Contains("it changed the extras that it was given"), PluginError);
  }
}
