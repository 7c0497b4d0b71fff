#include "framework/sampling/generate.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <limits>

#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

/// A head that returns the estimate a test asks for.
class SaidHead final : public CascadeHead {
 public:
  explicit SaidHead(std::function<Estimate(const Tensor& x_t)> estimate) : estimate_(std::move(estimate)) {}
  std::vector<NamedModule> modules() const override { return {}; }
  Losses losses(const TrainingBatch&, const MetricTerms&) override { return {}; }
  Estimate estimate(const EstimateInput& input) override { return estimate_(input.x_t); }

 private:
  std::function<Estimate(const Tensor&)> estimate_;
};

/// Four steps to the estimate's clean image; `change` alters what a step returns.
class FourSteps final : public Sampler {
 public:
  const std::vector<SampleStep>& plan() const override { return plan_; }
  Tensor step(const StepInput& input) override {
    const Tensor x = mixed_x0(input.estimate, Clip::none);
    return change(input.index, adds_noise ? x + input.noise : x);
  }

  Tensor model_input(const Tensor& x_t, std::size_t) const override { return input(x_t); }

  std::function<Tensor(std::size_t, const Tensor&)> change = [](std::size_t, const Tensor& x) { return x; };
  std::function<Tensor(Tensor)> input = [](Tensor x) { return x; };
  bool adds_noise = false;
  std::vector<SampleStep> plan_ = {{80, 60}, {60, 40}, {40, 20}, {20, -1}};
};

Estimate half_of(const Tensor& x_t) {
  Estimate estimate;
  estimate.eps = x_t;
  estimate.x0_from_eps = 0.5 * x_t;
  return estimate;
}

struct Setting {
  Model model;
  std::shared_ptr<FourSteps> sampler = std::make_shared<FourSteps>();
  GenerateOptions options;

  explicit Setting(std::function<Estimate(const Tensor&)> estimate = half_of) {
    model.schedule = make_beta_schedule("cosine", "num_train_timesteps = 100", {});
    model.head = {std::make_shared<SaidHead>(std::move(estimate)), ComponentConfig{"mine/head", {}}};
    model.sampler = {sampler, ComponentConfig{"mine/steps", {}}};
    options.count = 3;
    options.image_size = 4;
  }

  Tensor draw() const { return generate(model, options); }

  void fails(const std::vector<std::string>& expected) const {
    std::string message = "nothing was thrown";
    try {
      draw();
    } catch (const Error& error) {
      message = error.what();
    }
    for (const std::string& part : expected) CHECK_MESSAGE(message.find(part) != std::string::npos, message);
  }
};

}  // namespace

TEST_CASE("the noise for an image and a step has the same bits in any batch") {
  const auto drawn = [](std::int64_t first, std::int64_t count) {
    Setting setting;
    setting.options.seed = 7;
    setting.options.first = first;
    setting.options.count = count;
    for (SampleStep& step : setting.sampler->plan_) step.needs_noise = true;
    setting.sampler->adds_noise = true;
    return setting.draw();
  };
  const Tensor whole = drawn(0, 8);
  for (std::int64_t first : {0, 1, 7}) CHECK(at::equal(drawn(first, 1)[0], whole[first]));
  CHECK(at::equal(drawn(2, 3), whole.narrow(0, 2, 3)));
  CHECK_FALSE(at::equal(whole[0], whole[1]));
}

TEST_CASE("an image that is not finite is an error with sampler, step, t and image") {
  Setting setting;
  setting.options.first = 10;
  REQUIRE(setting.draw().isfinite().all().item<bool>());
  for (const double value : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    setting.sampler->change = [&](std::size_t index, const Tensor& x) {
      Tensor changed = x.clone();
      if (index == 2) changed[1][0][3][3] = value;
      return changed;
    };
    setting.fails({"mine/steps", "image 11 is not finite after step 3 of 4 (t = 40)"});
  }
}

TEST_CASE("a sampler that changes its images in place is refused") {
  Setting setting;
  setting.sampler->input = [](Tensor x) { return x.mul_(0.5); };
  setting.fails({"mine/steps", "it changed the images x_t that it was given"});
  setting.sampler->input = [](const Tensor& x) { return x.data().mul_(0.5); };  // which LibTorch does not count
  setting.fails({"mine/steps", "it changed the images x_t that it was given"});
}

TEST_CASE("a trial takes the first step alone and accepts what is not finite") {
  Setting setting;
  std::vector<std::size_t> steps;
  setting.sampler->change = [&](std::size_t index, const Tensor& x) {
    steps.push_back(index);
    return x / 0;
  };
  try_first_step(setting.model, setting.options);
  CHECK(steps == std::vector<std::size_t>{0});
  setting.sampler->change = [](std::size_t, const Tensor& x) { return x.select(1, 0); };
  CHECK_THROWS_WITH_AS(try_first_step(setting.model, setting.options), doctest::Contains("mine/steps"), PluginError);
}

TEST_CASE("the error says which part of the estimate was not finite") {
  Setting setting([](const Tensor& x_t) {
    Estimate estimate = half_of(x_t);
    estimate.x0 = at::full_like(x_t, std::numeric_limits<double>::quiet_NaN());
    estimate.gate = at::full({x_t.size(0), 1, 1, 1}, 0.5);
    return estimate;
  });
  setting.fails({"image 0 is not finite after step 1 of 4", "the head's estimate is not finite in x0"});
}

TEST_CASE("an infinite estimate is refused, although a sampler may clip it to an image") {
  Setting setting([](const Tensor& x_t) {
    Estimate estimate = half_of(x_t);
    estimate.x0_from_eps = at::full_like(x_t, std::numeric_limits<double>::infinity());
    return estimate;
  });
  setting.sampler->change = [](std::size_t, const Tensor& x) { return x.nan_to_num(1, 1, -1); };
  setting.fails({"image 0 is not finite after step 1 of 4", "the head's estimate is not finite in x0_from_eps"});
}

TEST_CASE("an estimate of a wrong shape is refused by name, not broadcast to images") {
  const auto with = [](auto&& change) {
    return Setting([change](const Tensor& x_t) {
      Estimate estimate = half_of(x_t);
      change(estimate, x_t);
      return estimate;
    });
  };
  with([](Estimate& e, const Tensor& x) {
    e.x0_from_eps = x.select(1, 0).select(0, 0);
  }).fails({"mine/head", "[3, 3, 4, 4]", "x0_from_eps", "[4, 4]"});
  with([](Estimate& e, const Tensor& x) { e.x0 = x.mean(1); }).fails({"mine/head", "x0 of Float [3, 4, 4]"});
  with([](Estimate& e, const Tensor& x) { e.eps = x.narrow(1, 0, 1); }).fails({"eps of Float [3, 1, 4, 4]"});
  with([](Estimate& e, const Tensor& x) { e.eps = x.to(at::kLong); }).fails({"eps of Long", "floating point"});
  with([](Estimate& e, const Tensor& x) {
    e.x0 = x;
    e.gate = at::full({5, 3, 4, 4}, 0.5);
  }).fails({"gate of Float [5, 3, 4, 4]", "broadcasts"});
  with([](Estimate& e, const Tensor&) { e.x0_from_eps = Tensor(); }).fails({"mine/head", "no clean image"});
  // A gate per image, or one for all, is allowed by the interface.
  with([](Estimate& e, const Tensor& x) {
    e.x0 = x;
    e.gate = at::full({3, 1, 1, 1}, 0.5);
  }).draw();
}

TEST_CASE("the result of a sampler is checked") {
  Setting setting;
  setting.sampler->change = [](std::size_t, const Tensor& x) { return x.narrow(0, 0, 1); };
  setting.fails({"mine/steps", "step() returned Float [1, 3, 4, 4]", "[3, 3, 4, 4]"});
  setting.sampler->change = [](std::size_t, const Tensor& x) { return x.to(at::kDouble); };
  setting.fails({"step() returned Double", "expected Float"});
  setting.sampler->change = [](std::size_t, const Tensor&) { return Tensor(); };
  setting.fails({"an undefined tensor"});
  setting.sampler->plan_.back().t_next = 0;
  setting.fails({"mine/steps", "plan()", "t_next must be -1"});
  setting.sampler->plan_.clear();
  setting.fails({"plan() is empty"});
}

TEST_CASE("sampling stops within one step once it is cancelled") {
  Setting setting;
  std::size_t steps = 0;
  setting.options.on_step = [&](std::size_t step, std::size_t) { steps = step; };
  setting.options.is_cancelled = [&] { return steps == 2; };
  CHECK_THROWS_AS(setting.draw(), SamplingCancelled);
  CHECK(steps == 2);
}
