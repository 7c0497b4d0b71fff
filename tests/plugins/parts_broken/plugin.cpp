#include "casdm/plugin.h"

#include <ATen/ATen.h>

#include <cmath>
#include <filesystem>
#include <utility>

#include "casdm/beta_schedule.h"
#include "casdm/dataset.h"
#include "casdm/noise_scheduler.h"
#include "casdm/random.h"
#include "casdm/sampler.h"
#include "plugins/meddle.h"

/// A sampler, a schedule and data sets that violate the clause of their contract named by the option `fault`.
namespace casdm {

namespace {

struct FaultySamplerOptions {
  std::string fault = "none";
  std::string change = "none";
  std::int64_t order = 2;
  std::int64_t num_inference_steps = 20;

  static void describe(Schema<FaultySamplerOptions>& s) {
    s.option("fault", &FaultySamplerOptions::fault, "What goes wrong.")
        .choices({"none", "coefficients", "stays_behind", "ignores_the_gate", "in_place", "single", "new_plan",
                  "remembers", "timesteps_alone", "preserved_variance", "batch_threshold"});
    s.option("change", &FaultySamplerOptions::change, "What `step` changes of the process.")
        .choices(testing::all_changes());
    s.option("order", &FaultySamplerOptions::order, "1: DDIM; 2: two-step exponential integration.").range(1, 2);
    s.option("num_inference_steps", &FaultySamplerOptions::num_inference_steps, "Number of steps.").at_least(1);
  }
};

/// DPM-Solver++ of order 1 or 2, with times evenly spaced.
class FaultySampler final : public Sampler {
 public:
  using Options = FaultySamplerOptions;
  FaultySampler(const Options& options, const Spec& spec) : options_(options), schedule_(spec.schedule) {
    const std::int64_t T = schedule_->num_train_timesteps();
    const std::int64_t N = std::min(options.num_inference_steps, T);
    const TimeRange times = schedule_->range();
    const auto t = [&](std::int64_t index) {
      if (times.is_whole || is("timesteps_alone")) return static_cast<double>((N - index) * T / N - 1);
      const double part = static_cast<double>(N - index) / static_cast<double>(N);
      return times.clean + part * (times.last - times.clean);
    };
    for (std::int64_t i = 0; i < N; ++i) plan_.push_back({t(i), i + 1 < N ? t(i + 1) : times.clean, false});
  }

  const std::vector<SampleStep>& plan() const override { return plan_; }
  void start() override {
    if (!is("remembers")) before_ = Tensor();
    if (is("new_plan")) plan_.front().needs_noise = !plan_.front().needs_noise;
  }

  Tensor step(const StepInput& input) override {
    testing::meddle(options_.change);
    if (is("in_place")) Tensor(input.x_t).mul_(0.5);
    Tensor x0 = is("ignores_the_gate") ? input.estimate.x0_from_eps : mixed_x0(input.estimate, Clip::none);
    // Dynamic thresholding over the batch, not over each image.
    if (is("batch_threshold")) x0 = x0 / x0.abs().max().clamp_min(1);
    const auto [alpha, sigma] = level(input.level);
    const auto [alpha_next, sigma_next] = level(input.next_level);
    const double lambda = std::log(alpha / sigma);
    Tensor D = x0;
    if (options_.order == 2 && before_.defined() && std::isfinite(lambda_before_) && sigma_next > 0) {
      const double h = std::log(alpha_next / sigma_next) - lambda;
      const double weight = is("coefficients") ? 2 : h / (2 * (lambda - lambda_before_));
      D = x0 + weight * (x0 - before_);
    }
    before_ = x0;
    lambda_before_ = lambda;
    Tensor next = sigma_next / sigma * input.x_t + (alpha_next - sigma_next / sigma * alpha) * D;
    // Uses the noise of the level where the step begins.
    if (is("stays_behind")) next = alpha_next * D + sigma_next * (input.x_t - alpha * D);
    return is("single") ? next.to(at::kFloat) : next;
  }

 private:
  bool is(std::string_view fault) const { return options_.fault == fault; }
  /// alpha and sigma, or the sigma that betas would give for this alpha.
  std::pair<double, double> level(const NoiseLevel& level) const {
    return {level.alpha, is("preserved_variance") ? std::sqrt(1 - level.alpha * level.alpha) : level.sigma};
  }

  Options options_;
  std::shared_ptr<const NoiseScheduler> schedule_;
  std::vector<SampleStep> plan_;
  Tensor before_;
  double lambda_before_ = 0;
};

std::vector<double> single_betas() {
  std::vector<double> betas;
  for (int i = 0; i < 100; ++i) betas.push_back(static_cast<double>(1e-4F + 2e-4F * static_cast<float>(i)));
  return betas;
}

/// Computed in float32.
class SingleSchedule final : public BetaSchedule {
 public:
  using Options = NoOptions;
  SingleSchedule(const Options&, const Spec&) : BetaSchedule(single_betas()) {}
  Tensor alpha(const Tensor& t) const override { return BetaSchedule::alpha(t).to(at::kFloat).to(at::kDouble); }
};

struct FallingScheduleOptions {
  std::string fault = "none";

  static void describe(Schema<FallingScheduleOptions>& s) {
    s.option("fault", &FallingScheduleOptions::fault, "What goes wrong.").choices({"none", "whole_times_fall"});
  }
};

/// A rectified flow whose times fall from the clean image, at t = 100, to noise at t = 0.
class FallingSchedule final : public NoiseScheduler {
 public:
  using Options = FallingScheduleOptions;
  FallingSchedule(const Options& options, const Spec&) : is_whole_(options.fault == "whole_times_fall") {}
  TimeRange range() const override { return {.first = 99, .last = 0, .clean = 100, .is_whole = is_whole_}; }
  Tensor alpha(const Tensor& t) const override { return t.to(at::kDouble) / 100; }
  Tensor sigma(const Tensor& t) const override { return 1 - alpha(t); }

 private:
  bool is_whole_;
};

struct FaultyDatasetOptions {
  std::string fault = "none";
  std::string change = "none";

  static void describe(Schema<FaultyDatasetOptions>& s) {
    s.option("fault", &FaultyDatasetOptions::fault, "What goes wrong.")
        .choices(
            {"none", "label_without_classes", "always_rgb", "two_lines", "short", "huge", "rude", "no_such_class"});
    s.option("change", &FaultyDatasetOptions::change, "What `get` changes of the process.")
        .choices(testing::all_changes());
  }
};

/// Grey images, each brighter than the one before.
class FaultyDataset final : public Dataset {
 public:
  using Options = FaultyDatasetOptions;
  FaultyDataset(const Options& options, const Spec& spec)
      : options_(options), channels_(options.fault == "always_rgb" ? 3 : spec.image.channels) {}
  std::int64_t size() const override { return 64; }
  Example get(std::int64_t index) const override {
    testing::meddle(options_.change);
    const auto bytes = static_cast<std::size_t>(16 * 16 * channels_) - (options_.fault == "short" ? 1 : 0);
    constexpr std::int64_t kHuge = std::int64_t{1} << 32;  // two sides, multiplied in 64 bits, are 0
    if (options_.fault == "huge") return {{kHuge, kHuge, channels_, {}}, -1};
    return {{16, 16, channels_, std::vector<std::uint8_t>(bytes, static_cast<std::uint8_t>(index))},
            options_.fault == "label_without_classes" ? 0
            : options_.fault == "no_such_class"       ? 7
                                                      : -1,
            options_.fault == "rude" ? "have \x1b]0;title\x07" : ""};
  }
  std::int64_t num_classes() const override { return options_.fault == "no_such_class" ? 3 : 0; }
  std::string describe(std::int64_t index) const override { return "grey " + std::to_string(index); }
  std::string left_out() const override { return options_.fault == "two_lines" ? "a.txt\nb.txt" : ""; }

 private:
  Options options_;
  std::int64_t channels_;
};

struct FilesOptions {
  std::filesystem::path path;
  static void describe(Schema<FilesOptions>& s) { s.option("path", &FilesOptions::path, "The folder.").required(); }
};

/// Cannot be created without being told where its files are.
class FilesDataset final : public Dataset {
 public:
  using Options = FilesOptions;
  FilesDataset(const Options& options, const Spec& spec) : path_(options.path), channels_(spec.image.channels) {}
  std::int64_t size() const override { return 1; }
  Example get(std::int64_t) const override {
    return {{1, 1, channels_, std::vector<std::uint8_t>(static_cast<std::size_t>(channels_))}, -1};
  }
  std::string describe(std::int64_t) const override { return path_.string(); }

 private:
  std::filesystem::path path_;
  std::int64_t channels_;
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "Samplers, schedules and data sets that break their contract", .licence = "Apache-2.0"});
  plugin.add<FaultySampler>("faulty_sampler", "DPM-Solver++.");
  plugin.add<SingleSchedule>("single_schedule", "Betas computed in float32.");
  plugin.add<FallingSchedule>("falling_schedule", "A rectified flow in time that falls.");
  plugin.add<FaultyDataset>("faulty_dataset", "Grey images.");
  plugin.add<FilesDataset>("files", "Images of a folder.");
}

}  // namespace casdm
