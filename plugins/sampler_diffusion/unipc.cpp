#include "unipc.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "casdm/log.h"

namespace casdm::sampler_diffusion {
namespace {

constexpr std::size_t kLargestOrder = 3;

/// The weights of the differences at the points `r` (in units of the step) that make the update exact for polynomials
/// (equation 5 of the paper): sum_m weight_m r_m^(n-1) = n! phi_n / B(h).
std::vector<double> weights(const std::vector<double>& r, double minus_h, double b_h) {
  const auto count = static_cast<std::int64_t>(r.size());
  std::vector<double> powers;
  std::vector<double> right;
  double phi = std::expm1(minus_h) / minus_h - 1;
  double factorial = 1;
  for (std::size_t n = 1; n <= r.size(); ++n) {
    for (const double point : r) powers.push_back(std::pow(point, static_cast<double>(n - 1)));
    right.push_back(phi * factorial / b_h);
    phi = phi / minus_h - 1 / (factorial * static_cast<double>(n + 1));
    factorial *= static_cast<double>(n + 1);
  }
  const Tensor solution =
      at::linalg_solve(at::tensor(powers, at::kDouble).view({count, count}), at::tensor(right, at::kDouble));
  const double* first = solution.const_data_ptr<double>();
  return {first, first + count};
}

}  // namespace

void UniPcOptions::describe(Schema<UniPcOptions>& s) {
  describe_noise_levels(s, "Steps of one trajectory, one evaluation each.");
  s.option("order", &UniPcOptions::order, "Order of the proposals; with the corrector one more is reached.")
      .range(1, kLargestOrder);
  s.option("variant", &UniPcOptions::variant, "The paper's B(h): bh1 is h, bh2 is e^h - 1.");
  s.option("corrector", &UniPcOptions::corrector, "Correct each step by the evaluation at its end (UniC).");
  describe_clean_image(s);
}

UniPcSampler::UniPcSampler(const Options& options, const Spec& spec)
    : clean_image_(options),
      options_(options),
      levels_(noise_levels(*spec.schedule, options, LevelGrid::whole)),
      initial_scale_(initial_noise(*spec.schedule, options, levels_.front())),
      plan_(plan_of(levels_, false)) {
  if (options.variant != UniPcOptions().variant && options.order == 1 && !options.corrector) {
    Log("sampler").warning("variant = \"", to_string(options.variant),
                           "\" does nothing with order = 1 and without the ", "corrector; leave it out");
  }
}

void UniPcSampler::start() {
  history_.clear();
  x_before_.reset();
}

std::size_t UniPcSampler::order_of(std::size_t index) const {
  // A level of pure noise (A_T = 0) is infinitely far away and cannot be used for interpolation.
  const std::size_t usable = levels_.front().alpha > 0 || index == 0 ? index + 1 : index;
  return std::min({static_cast<std::size_t>(options_.order), usable, plan_.size() - index});
}

Tensor UniPcSampler::update(const Tensor& x, std::size_t index, std::size_t order, const Tensor& x0_at_end) const {
  const SampledLevel& s = levels_[index];
  const SampledLevel& t = levels_[index + 1];
  const double h = t.log_ratio() - s.log_ratio();
  const double b_h = options_.variant == UniPcVariant::bh1 && std::isfinite(h) ? -h : std::expm1(-h);
  const Tensor& x0 = history_[index];

  std::vector<double> points;
  std::vector<Tensor> differences;
  for (std::size_t back = 1; back < order; ++back) {
    points.push_back((levels_[index - back].log_ratio() - s.log_ratio()) / h);
    differences.push_back((history_[index - back] - x0) / points.back());
  }
  if (x0_at_end.defined()) {
    points.push_back(1);
    differences.push_back(x0_at_end - x0);
  }

  Tensor result = t.sigma / s.sigma * x - t.alpha * std::expm1(-h) * x0;
  if (points.empty()) return result;
  // A single difference has weight 1/2 whatever B(h), as in the authors' code.
  const std::vector<double> weight = points.size() == 1 ? std::vector{0.5} : weights(points, -h, b_h);
  for (std::size_t i = 0; i < points.size(); ++i) result = result - t.alpha * b_h * weight[i] * differences[i];
  return result;
}

Tensor UniPcSampler::step(const StepInput& input) {
  const std::size_t index = input.index;
  const SampledLevel& s = levels_[index];
  const Tensor x0 = clean_image_at(s, clean_image_, input, s.alpha);
  Tensor x = input.x_t;
  if (options_.corrector && index > 0) x = update(x_before_, index - 1, order_of(index - 1), x0);
  history_.push_back(x0);
  if (index > kLargestOrder) history_[index - kLargestOrder - 1].reset();
  x_before_ = x;
  return update(x, index, order_of(index), {});
}

}  // namespace casdm::sampler_diffusion
