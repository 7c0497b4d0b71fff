#include "framework/composition/contract.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <limits>

#include "casdm/error.h"

using namespace casdm;

namespace {

/// A head with the given modules; the checks call nothing else.
class FakeHead final : public CascadeHead {
 public:
  explicit FakeHead(std::vector<NamedModule> modules = {}) : modules_(std::move(modules)) {}
  std::vector<NamedModule> modules() const override { return modules_; }
  Estimate estimate(const EstimateInput&) override { return {}; }
  Losses losses(const TrainingBatch&, const MetricTerms&) override { return {}; }

 private:
  std::vector<NamedModule> modules_;
};

class FakeSampler final : public Sampler {
 public:
  explicit FakeSampler(std::vector<SampleStep> plan, double scale = 1) : plan_(std::move(plan)), scale_(scale) {}
  const std::vector<SampleStep>& plan() const override { return plan_; }
  double initial_scale() const override { return scale_; }
  Tensor step(const StepInput& input) override { return input.x_t; }

 private:
  std::vector<SampleStep> plan_;
  double scale_;
};

class Tensors final : public Module {
 public:
  explicit Tensors(NamedTensors parameters) : parameters_(std::move(parameters)) {}
  NamedTensors parameters() const override { return parameters_; }

 private:
  NamedTensors parameters_;
};

const Tensor x_t = at::zeros({2, 3, 4, 4});

/// The message about an estimate whose `member` is `value`; empty if it is accepted.
std::string refusal(Tensor Estimate::*member, const Tensor& value) {
  Estimate estimate{x_t, x_t, x_t, at::ones({2, 1, 1, 1}), {}};
  estimate.*member = value;
  try {
    check_estimate({std::make_shared<FakeHead>(), {"mine/head", {}}}, estimate, x_t);
  } catch (const PluginError& error) {
    return error.what();
  }
  return "";
}

std::string refusal(const LossTerm& term, const LossTerm& other = {"other", at::zeros({2}), 1, "theta"}) {
  TrainingBatch batch;
  batch.x0 = x_t;
  try {
    check_losses({std::make_shared<FakeHead>(), {"mine/head", {}}}, {{other, term}, {}}, batch,
                 {{"theta", std::make_shared<Tensors>(NamedTensors()), true}});
  } catch (const PluginError& error) {
    return error.what();
  }
  return "";
}

bool is_refused(const std::vector<NamedModule>& modules) {
  try {
    checked_modules({std::make_shared<FakeHead>(modules), {"mine/head", {}}});
  } catch (const PluginError&) {
    return true;
  }
  return false;
}

bool is_refused(const std::vector<SampleStep>& plan) {
  try {
    checked_plan({std::make_shared<FakeSampler>(plan)}, {.first = 0, .last = 99, .clean = -1, .is_whole = true});
  } catch (const PluginError&) {
    return true;
  }
  return false;
}

}  // namespace

TEST_CASE("an estimate of another shape, type or device is refused, not broadcast") {
  CHECK(refusal(&Estimate::x0, x_t).empty());
  CHECK(refusal(&Estimate::x0, at::zeros({2, 4, 4})) ==
        "mine/head: its estimate of images [2, 3, 4, 4] on cpu has x0 of Float [2, 4, 4] on cpu; expected floating "
        "point of the images' shape");
  CHECK(refusal(&Estimate::x0, Tensor()).empty());
  CHECK(refusal(&Estimate::x0, x_t.to(at::kBFloat16)).empty());
  CHECK_FALSE(refusal(&Estimate::x0, x_t.to(at::kLong)).empty());
  CHECK_FALSE(refusal(&Estimate::x0, x_t.to(at::kMeta)).empty());
  CHECK_FALSE(refusal(&Estimate::eps, at::zeros({1, 3, 4, 4})).empty());
  CHECK_FALSE(refusal(&Estimate::x0_from_eps, at::zeros({2, 1, 4, 4})).empty());
  CHECK_FALSE(refusal(&Estimate::variance, at::zeros({6, 4, 4})).empty());
  CHECK(refusal(&Estimate::gate, at::ones({2, 3, 4, 4})).empty());
  CHECK(refusal(&Estimate::gate, at::ones({})).empty());
  CHECK_FALSE(refusal(&Estimate::gate, at::ones({2})).empty());
}

TEST_CASE("a loss term must have one number per image, a known module and a unique name") {
  CHECK(refusal({"eps", at::zeros({2}), 1, "theta"}).empty());
  CHECK(refusal({"eps", at::zeros({}), 1, "theta"}).find("expected one floating-point number for each image, [2]") !=
        std::string::npos);
  CHECK_FALSE(refusal({"eps", at::zeros({2, 1}), 1, "theta"}).empty());
  CHECK_FALSE(refusal({"eps", Tensor(), 1, "theta"}).empty());
  CHECK_FALSE(refusal({"eps", at::zeros({2}), std::numeric_limits<double>::quiet_NaN(), "theta"}).empty());
  CHECK_FALSE(refusal({"eps", at::zeros({2}), 1, "phi"}).empty());
  CHECK_FALSE(refusal({"", at::zeros({2}), 1, "theta"}).empty());
  CHECK_FALSE(refusal({"a\x1b[31m", at::zeros({2}), 1, "theta"}).empty());
  CHECK(refusal({"other", at::zeros({2}), 1, "theta"}) == "mine/head: two loss terms are named 'other'");
}

TEST_CASE("modules need unique names that can be part of a file name, and defined tensors") {
  const auto trained = [] { return at::ones({2}).requires_grad_(); };
  const auto module = std::make_shared<Tensors>(NamedTensors{{"weight", trained()}});
  const auto other = std::make_shared<Tensors>(NamedTensors{{"weight", trained()}});
  CHECK_FALSE(is_refused({{"theta", module, true}, {"phi_2", other, true}}));
  CHECK(is_refused({{"theta", module, true}, {"phi_2", module, true}}));
  CHECK(is_refused(std::vector<NamedModule>()));
  CHECK(is_refused({{"theta", module, true}, {"theta", other, true}}));
  CHECK(is_refused({{"../theta", module, true}}));
  CHECK(is_refused({{"", module, true}}));
  CHECK(is_refused({{"theta", nullptr, true}}));
  CHECK(is_refused({{"theta", std::make_shared<Tensors>(NamedTensors{{"a", trained()}, {"a", trained()}}), true}}));
  CHECK(is_refused({{"theta", std::make_shared<Tensors>(NamedTensors{{"a", Tensor()}}), true}}));
}

TEST_CASE("tensors that training or loading would not reach are refused") {
  /// Creates its tensor anew whenever it is asked for it.
  class Fleeting final : public Module {
   public:
    NamedTensors parameters() const override { return {{"weight", at::ones({2})}}; }
  };
  CHECK(is_refused({{"theta", std::make_shared<Fleeting>(), true}}));
  const auto with = [](const Tensor& tensor) {
    return std::vector<NamedModule>{{"theta", std::make_shared<Tensors>(NamedTensors{{"a", tensor}}), true}};
  };
  CHECK_FALSE(is_refused(with(at::ones({2}).requires_grad_())));
  CHECK(is_refused(with(at::ones({2}).requires_grad_() * 2)));
  CHECK(is_refused(with(at::ones({1}).expand({2}))));
  CHECK(is_refused(with(at::eye(2).to_sparse())));
  CHECK(is_refused(with(at::ones({2}, at::kComplexFloat))));
}

TEST_CASE("a data set with impossible extras or classes is refused by name") {
  class WithExtras final : public Dataset {
   public:
    explicit WithExtras(std::vector<ExtraInfo> extras, std::int64_t classes = 0)
        : extras_(std::move(extras)), classes_(classes) {}
    std::int64_t size() const override { return 1; }
    std::int64_t num_classes() const override { return classes_; }
    std::vector<ExtraInfo> extras() const override { return extras_; }
    Example get(std::int64_t) const override { return {}; }
    std::string describe(std::int64_t) const override { return "the image"; }

   private:
    std::vector<ExtraInfo> extras_;
    std::int64_t classes_;
  };
  const auto refusal = [](std::vector<ExtraInfo> extras, std::int64_t classes = 0) -> std::string {
    try {
      checked_dataset({std::make_shared<WithExtras>(std::move(extras), classes), {"mine/images", {}}});
    } catch (const PluginError& error) {
      return error.what();
    }
    return "";
  };
  CHECK(refusal({{"context", {2}}, {"image", {3, 4, 4}, true}, {"age", {}}}) == "");
  CHECK(refusal({{"context", {-3}}}) ==
        "mine/images: the extra \"context\" of extras() has the shape [-3]; expected sides of at least 1, and no more "
        "than 2147483648 numbers for an image");
  CHECK(refusal({{"context", {std::int64_t{1} << 40, std::int64_t{1} << 40}}}) != "");
  CHECK(refusal({{"context", {0}}}) != "");
  CHECK(refusal({{"context", {2}}, {"context", {3}}}) != "");
  CHECK(refusal({{"", {2}}}) != "");
  CHECK(refusal({{"image", {4, 4}, true}}) != "");
  CHECK(refusal({}, -4) == "mine/images: num_classes() is -4; expected 0 to 10000000");
  CHECK(refusal({}, std::numeric_limits<std::int64_t>::max()) != "");
}

TEST_CASE("a path whose whole times decrease is refused by name") {
  class Falling final : public NoiseScheduler {
   public:
    TimeRange range() const override { return {.first = 99, .last = 0, .clean = 100, .is_whole = true}; }
    Tensor alpha(const Tensor& t) const override { return t.to(at::kDouble) / 100; }
    Tensor sigma(const Tensor& t) const override { return 1 - t.to(at::kDouble) / 100; }
  };
  CHECK_THROWS_WITH_AS(checked_schedule({std::make_shared<Falling>(), {"mine/path", {}}}),
                       doctest::Contains("mine/path: its times do not go one way"), PluginError);
}

TEST_CASE("whole times that do not begin at 0 are refused by name") {
  class FromOne final : public NoiseScheduler {
   public:
    TimeRange range() const override { return {.first = 1, .last = 100, .clean = 0, .is_whole = true}; }
    Tensor alpha(const Tensor& t) const override { return 1 - t.to(at::kDouble) / 101; }
    Tensor sigma(const Tensor& t) const override { return t.to(at::kDouble) / 101; }
  };
  CHECK_THROWS_WITH_AS(checked_schedule({std::make_shared<FromOne>(), {"mine/path", {}}}),
                       doctest::Contains("mine/path: its whole times begin at 1.0; expected 0"), PluginError);
}

TEST_CASE("times beyond memory or float32 are refused by name") {
  class Long final : public NoiseScheduler {
   public:
    Long(double last, bool is_whole) : last_(last), is_whole_(is_whole) {}
    TimeRange range() const override {
      return {.first = 0, .last = last_, .clean = is_whole_ ? -1.0 : 0.0, .is_whole = is_whole_};
    }
    Tensor alpha(const Tensor& t) const override { return 1 - (t.to(at::kDouble) + 1) / (last_ + 2); }
    Tensor sigma(const Tensor& t) const override { return (t.to(at::kDouble) + 1) / (last_ + 2); }

   private:
    double last_;
    bool is_whole_;
  };
  for (const auto& [last, is_whole] : {std::pair(1e9, true), std::pair(1e300, false)}) {
    CHECK_THROWS_WITH_AS(checked_schedule({std::make_shared<Long>(last, is_whole), {"mine/path", {}}}),
                         doctest::Contains("mine/path: its times reach from "), PluginError);
  }
}

TEST_CASE("a schedule is float64 whatever the type of t, and begins at the clean image") {
  class Path final : public NoiseScheduler {
   public:
    Path(bool is_like_t, double clean, bool is_complex)
        : is_like_t_(is_like_t), clean_(clean), is_complex_(is_complex) {}
    TimeRange range() const override { return {.first = 0, .last = 99, .clean = clean_, .is_whole = true}; }
    Tensor alpha(const Tensor& t) const override {
      const Tensor result = 1 - (t.to(at::kDouble) + 1) / 101;
      return is_like_t_ ? result.to(t.scalar_type()) : result;
    }
    Tensor sigma(const Tensor& t) const override { return (t.to(at::kDouble) + 1) / 101; }
    Tensor network_time(const Tensor& t) const override { return is_complex_ ? t.to(at::kComplexDouble) : t; }

   private:
    bool is_like_t_;
    double clean_;
    bool is_complex_;
  };
  const auto check = [](bool is_like_t, double clean, bool is_complex = false) {
    return checked_schedule({std::make_shared<Path>(is_like_t, clean, is_complex), {"mine/path", {}}});
  };
  const Tensor whole = at::tensor({3, 4});
  CHECK(check(false, -1)->network_time(whole).equal(whole));
  CHECK_THROWS_WITH_AS(check(true, -1), "mine/path: alpha() returned Long for t of type Long; expected float64",
                       PluginError);
  CHECK_THROWS_WITH_AS(check(false, -0.5), doctest::Contains("at the clean image, t = -0.5; expected 1"), PluginError);
  CHECK_THROWS_WITH_AS(check(false, -1, true)->network_time(whole),
                       "mine/path: network_time() returned ComplexDouble; expected real numbers", PluginError);
}

TEST_CASE("a schedule that returns another shape than it was given is refused by name") {
  class Misshapen final : public NoiseScheduler {
   public:
    TimeRange range() const override { return {.first = 0, .last = 99, .clean = -1, .is_whole = true}; }
    Tensor alpha(const Tensor& t) const override { return 1 - (t.to(at::kDouble) + 1) / 101; }
    Tensor sigma(const Tensor& t) const override { return (t.to(at::kDouble) + 1) / 101; }
    Tensor log_snr(const Tensor& t) const override {
      Tensor(t).zero_();
      return t.to(at::kDouble);
    }
    Tensor network_input(const Tensor& x_t, const Tensor&) const override {
      return x_t.size(0) == 1 ? x_t.to(at::kDouble) : x_t.narrow(1, 0, 1);
    }
    Tensor network_time(const Tensor&) const override { return {}; }
    double prior_std() const override { return std::numeric_limits<double>::infinity(); }
  };
  const auto schedule =
      std::make_shared<AttributedSchedule>(Component<NoiseScheduler>(std::make_shared<Misshapen>(), {"mine/path", {}}));
  const Tensor x = at::zeros({2, 3, 4, 4}), t = at::zeros({2});
  CHECK_THROWS_WITH_AS(schedule->network_input(x, t),
                       "mine/path: network_input() returned the shape [2, 1, 4, 4]; expected [2, 3, 4, 4]",
                       PluginError);
  CHECK_THROWS_WITH_AS(schedule->network_input(x.narrow(0, 0, 1), t.narrow(0, 0, 1)),
                       "mine/path: network_input() returned Double for images of type Float; expected their type",
                       PluginError);
  CHECK_THROWS_WITH_AS(schedule->log_snr(t), doctest::Contains("mine/path: it changed tensors that it was given"),
                       PluginError);
  CHECK_THROWS_WITH_AS(schedule->prior_std(), "mine/path: prior_std() returned inf; expected a finite number above 0",
                       PluginError);
  CHECK_THROWS_WITH_AS(schedule->network_time(t), "mine/path: network_time() returned nothing; expected [2]",
                       PluginError);
}

TEST_CASE("what a schedule derives must agree with its path") {
  /// A variance-exploding path: sigma from 0.01 to 80.
  class Exploding final : public NoiseScheduler {
   public:
    explicit Exploding(std::string fault) : fault_(std::move(fault)) {}
    TimeRange range() const override {
      return {.first = fault_ == "noiseless" ? 0.0 : 0.01, .last = 80, .clean = 0, .is_whole = false};
    }
    Tensor alpha(const Tensor& t) const override { return at::ones_like(t, at::kDouble); }
    Tensor sigma(const Tensor& t) const override { return t.to(at::kDouble); }
    Tensor previous(const Tensor& t) const override {
      if (fault_ == "same") return t;
      if (fault_ == "noisier") return t + 0.1;
      if (fault_ == "beyond") return t - 100;
      return fault_ == "at_once" ? at::zeros_like(t) : NoiseScheduler::previous(t);
    }
    Tensor network_time(const Tensor& t) const override {
      return fault_ == "timeless" ? at::ones_like(t)
             : fault_ == "log"    ? (t * 0).log()
                                  : NoiseScheduler::network_time(t);
    }
    Tensor network_input(const Tensor& x_t, const Tensor& t) const override {
      return fault_ == "infinite" ? x_t / 0 : NoiseScheduler::network_input(x_t, t);
    }
    double prior_std() const override { return fault_ == "variance" ? 6400 : fault_ == "forgotten" ? 1 : 80; }

   private:
    std::string fault_;
  };
  const auto checked = [](const std::string& fault) {
    return checked_schedule({std::make_shared<Exploding>(fault), {"mine/path", {}}});
  };
  CHECK_NOTHROW(checked(""));
  for (const auto& [fault, words] :
       {std::pair("same", "previous() of t = 0.01 is 0.01; expected a time of less noise"),
        std::pair("noisier", "previous() of t = 0.01 is 0.11; expected"),
        std::pair("beyond", "previous() of t = 0.01 is -99.99; expected"),
        std::pair("at_once", "previous() of the last time is the clean image's; expected one training step"),
        std::pair("timeless", "network_time() is 1.0 at the first time and 1.0 at the last; expected two finite"),
        std::pair("log", "expected two finite numbers"),
        std::pair("infinite", "network_input() of finite images is not"),
        std::pair("variance",
                  "prior_std() is 6400.0; images at the last time have a standard deviation of 80.0 to 80.0"),
        std::pair("forgotten", "prior_std() is 1.0; images"),
        std::pair("noiseless", "sigma is 0 at the first time, 0.0")}) {
    CHECK_THROWS_WITH_AS(checked(fault), doctest::Contains(words), PluginError);
  }

  /// Begins with noise of this scale.
  class Scaled final : public Sampler {
   public:
    explicit Scaled(double scale, double input = 1) : scale_(scale), input_(input) {}
    const std::vector<SampleStep>& plan() const override { return plan_; }
    double initial_scale() const override { return scale_; }
    Tensor model_input(const Tensor& x_t, std::size_t) const override { return x_t * input_; }
    Tensor step(const StepInput& input) override { return input.x_t; }

   private:
    double scale_, input_;
    std::vector<SampleStep> plan_ = {{80, 0, false}};
  };
  const auto begins = [&](const Scaled& sampler) {
    check_beginning({std::make_shared<Scaled>(sampler), {"mine/sampler", {}}}, *checked(""), ImageShape::square(3, 8));
  };
  CHECK_NOTHROW(begins(Scaled(80)));
  CHECK_NOTHROW(begins(Scaled(1, 80)));
  for (const Scaled& sampler : {Scaled(1), Scaled(80, 80)}) {
    CHECK_THROWS_WITH_AS(begins(sampler), doctest::Contains("mine/sampler: it begins at t = 80.0 with images of the"),
                         PluginError);
  }
}

TEST_CASE("a plan that is empty, leaves the schedule or does not end at the image is refused") {
  CHECK_FALSE(is_refused({{99, 50, false}, {50, -1, false}}));
  CHECK(is_refused(std::vector<SampleStep>()));
  CHECK(is_refused({{100, -1, false}}));
  CHECK(is_refused({{99, 50, false}}));
  CHECK(is_refused({{std::numeric_limits<double>::quiet_NaN(), -1, false}}));
  CHECK_THROWS_AS(checked_initial_scale({std::make_shared<FakeSampler>(std::vector<SampleStep>(), 0)}), PluginError);
}
