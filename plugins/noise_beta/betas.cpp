#include "betas.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm::noise_beta {
namespace {

using Betas = std::vector<double>;

/// `count` points from first to last, both exact; only `first` if count is 1.
Betas linspace(double first, double last, std::int64_t count) {
  Betas points;
  const double step = count > 1 ? (last - first) / static_cast<double>(count - 1) : 0.0;
  for (std::int64_t i = 0; i < count; ++i) points.push_back(first + static_cast<double>(i) * step);
  if (count > 1) points.back() = last;
  return points;
}

void require_rising(double beta_start, double beta_end) {
  if (beta_start <= beta_end) return;
  throw ConfigError(text("beta_start = ", number(beta_start), " is above beta_end = ", number(beta_end),
                         ": the noise of a step rises with t; exchange the two"));
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// beta_t = 1 - A(t/T) / A((t-1)/T), at most `max_beta`.
Betas from_cumulative(std::int64_t count, double max_beta, const std::function<double(double)>& alpha_cumprod) {
  Betas betas;
  const auto total = static_cast<double>(count);
  for (std::int64_t i = 0; i < count; ++i) {
    const double before = alpha_cumprod(static_cast<double>(i) / total);
    const double after = alpha_cumprod(static_cast<double>(i + 1) / total);
    betas.push_back(std::min(1 - after / before, max_beta));
  }
  return betas;
}

/// sqrt(A) shifted so that it ends at 0 and scaled so that its first value stays the same.
Betas with_zero_terminal_snr(Betas betas) {
  if (betas.size() < 2) throw ConfigError("rescale_zero_terminal_snr needs num_train_timesteps of at least 2, got 1");
  Betas root;
  double product = 1;
  for (const double beta : betas) root.push_back(std::sqrt(product *= 1 - beta));
  const double first = root.front();
  const double last = root.back();
  double previous = 1;
  for (std::size_t i = 0; i < betas.size(); ++i) {
    const double rescaled = (root[i] - last) * first / (first - last);
    betas[i] = 1 - rescaled * rescaled / (previous * previous);
    previous = rescaled;
  }
  return betas;
}

Betas finished(Betas betas, const CommonOptions& options) {
  return options.rescale_zero_terminal_snr ? with_zero_terminal_snr(std::move(betas)) : betas;
}

/// @param more  called for each of the two options, to add conditions
template <class T, class More>
void describe_ends(Schema<T>& s, const std::string& when, const More& more) {
  more(s.option("beta_start", &T::beta_start, "Beta of the first timestep" + when + ".").greater_than(0).range(0, 1));
  more(s.option("beta_end", &T::beta_end, "Beta of the last timestep" + when + ".").greater_than(0).range(0, 1));
}

template <class T>
void describe_ends(Schema<T>& s) {
  describe_ends(s, "", [](OptionSpec&) {});
}

}  // namespace

void LinearOptions::describe(Schema<LinearOptions>& s) {
  describe_common(s);
  describe_ends(s);
  s.option("scale_with_timesteps", &LinearOptions::scale_with_timesteps,
           "Multiply both ends by 1000 / num_train_timesteps, as guided-diffusion does.");
}

void ScaledLinearOptions::describe(Schema<ScaledLinearOptions>& s) {
  describe_common(s);
  describe_ends(s);
}

void CosineOptions::describe(Schema<CosineOptions>& s) {
  describe_common(s);
  s.option("offset", &CosineOptions::offset, "The paper's s: keeps the first betas from vanishing.").at_least(0);
  s.option("max_beta", &CosineOptions::max_beta, "Cap on beta.").greater_than(0).range(0, 1);
}

void SigmoidOptions::describe(Schema<SigmoidOptions>& s) {
  describe_common(s);
  s.option("form", &SigmoidOptions::form,
           "cumulative: A falls like a logistic function (Jabri et al.). betas: beta rises like one (diffusers).");
  s.option("start", &SigmoidOptions::start, "Left end of the logistic function (cumulative).")
      .only_with("form", {"cumulative"});
  s.option("end", &SigmoidOptions::end, "Right end of the logistic function (cumulative).")
      .only_with("form", {"cumulative"});
  s.option("temperature", &SigmoidOptions::temperature, "The paper's tau (cumulative).")
      .greater_than(0)
      .only_with("form", {"cumulative"});
  s.option("max_beta", &SigmoidOptions::max_beta, "Cap on beta (cumulative).")
      .greater_than(0)
      .range(0, 1)
      .only_with("form", {"cumulative"});
  describe_ends(s, " (betas)", [](OptionSpec& end) { end.only_with("form", {"betas"}); });
}

Betas betas_of(const LinearOptions& options) {
  require_rising(options.beta_start, options.beta_end);
  const double scale = options.scale_with_timesteps ? 1000.0 / static_cast<double>(options.num_train_timesteps) : 1.0;
  const double largest = scale * options.beta_end;
  if (largest > 1) {
    throw ConfigError(text("betas up to ", largest, " = ", scale, " * ", largest / scale,
                           " exceed 1: num_train_timesteps = ", options.num_train_timesteps,
                           " is too small; raise it, lower beta_end or set scale_with_timesteps = false"));
  }
  return finished(linspace(scale * options.beta_start, scale * options.beta_end, options.num_train_timesteps), options);
}

Betas betas_of(const ScaledLinearOptions& options) {
  require_rising(options.beta_start, options.beta_end);
  Betas betas = linspace(std::sqrt(options.beta_start), std::sqrt(options.beta_end), options.num_train_timesteps);
  for (double& beta : betas) beta *= beta;
  return finished(std::move(betas), options);
}

Betas betas_of(const CosineOptions& options) {
  const auto alpha_cumprod = [&](double u) {
    const double angle = (u + options.offset) / (1 + options.offset) * std::numbers::pi / 2;
    return std::cos(angle) * std::cos(angle);
  };
  return finished(from_cumulative(options.num_train_timesteps, options.max_beta, alpha_cumprod), options);
}

Betas betas_of(const SigmoidOptions& options) {
  const std::int64_t count = options.num_train_timesteps;
  if (options.form == SigmoidForm::betas) {
    require_rising(options.beta_start, options.beta_end);
    Betas betas = linspace(-6, 6, count);
    for (double& beta : betas) {
      beta = options.beta_start + (options.beta_end - options.beta_start) * sigmoid(beta);
    }
    return finished(std::move(betas), options);
  }
  if (!(options.start < options.end)) {
    throw ConfigError(text("start = ", options.start, " must be below end = ", options.end));
  }
  const double high = sigmoid(options.end / options.temperature);
  const auto alpha_cumprod = [&](double u) {
    return high - sigmoid((options.start + u * (options.end - options.start)) / options.temperature);
  };
  return finished(from_cumulative(count, options.max_beta, alpha_cumprod), options);
}

}  // namespace casdm::noise_beta
