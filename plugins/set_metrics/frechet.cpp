#include "frechet.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "casdm/error.h"
#include "casdm/random.h"
#include "casdm/text.h"
#include "state.h"

namespace casdm::set_metrics {

namespace {

constexpr std::int64_t kMostDimensions = 16384;  // of a covariance: 2 GiB

std::int64_t dimension_of(const FeatureInfo& feature) {
  require_pooled(feature);
  if (feature.dimension > kMostDimensions) {
    throw ConfigError(text("it keeps the covariance of the features: the ", feature.dimension, " of ",
                           quoted(feature.name), " are more than the ", kMostDimensions,
                           " it takes; choose a pooled feature, or make the images smaller"));
  }
  return feature.dimension;
}

struct Line {
  double intercept, standard_error;
};

/// The least-squares line through the points (x, y).
Line fitted(const Tensor& x, const Tensor& y) {
  const double count = static_cast<double>(x.size(0));
  const Tensor from_mean = x - x.mean();
  const double spread = from_mean.square().sum().item<double>();
  const Tensor slope = (from_mean * y).sum() / spread;
  const Tensor residual = y - y.mean() - slope * from_mean;
  const double variance = residual.square().sum().item<double>() / (count - 2);
  const double mean = x.mean().item<double>();
  return {(y.mean() - slope * mean).item<double>(), std::sqrt(variance * (1 / count + mean * mean / spread))};
}

}  // namespace

Frechet::Frechet(const Options&, const Spec& spec) : dimension_(dimension_of(spec.feature)) {}

std::vector<Score> Frechet::compare(const NamedTensors& generated, const NamedTensors& reference) const {
  return {{"frechet", frechet_distance(Gaussian(Moments(generated)), Gaussian(Moments(reference)))}};
}

NamedTensors Frechet::from_moments(const casdm::Moments& moments) const {
  // If the number is unknown, it must not matter: two images can have any moments.
  const double count = moments.images > 0 ? static_cast<double>(moments.images) : 2;
  return {{"count", at::full({}, count, at::kDouble)},
          {"mean", moments.mean.clone()},
          {"scatter", moments.covariance * (count - 1)}};
}

casdm::Moments Frechet::moments(const NamedTensors& state) const {
  const Moments own(state);
  return {own.mean, own.covariance(), static_cast<std::int64_t>(own.count.item<double>())};
}

void FrechetInfinityOptions::describe(Schema<FrechetInfinityOptions>& s) {
  s.option("images", &FrechetInfinityOptions::images, "Generated images that subsets are drawn from.").range(100, 1e9);
  s.option("sizes", &FrechetInfinityOptions::sizes, "Number of sizes of subsets, spread evenly in 1 / size.")
      .range(3, 100);
  s.option("smallest", &FrechetInfinityOptions::smallest, "Smallest size, as a part of the largest.").range(0.01, 0.9);
}

FrechetInfinity::FrechetInfinity(const Options& options, const Spec& spec)
    : options_(options),
      dimension_(dimension_of(spec.feature)),
      seed_(spec.seed),
      kept_(options.images, spec.feature.dimension, spec.seed) {}

SetMetricInfo FrechetInfinity::info() const {
  return {.scores = {{.name = "frechet_infinity", .has_standard_error = true}},
          .minimum_images = 100,
          .images_kept = kept_.limit()};
}

NamedTensors FrechetInfinity::start() const {
  NamedTensors state = Moments::none(dimension_);
  for (auto& tensor : kept_.none()) state.push_back(tensor);
  return state;
}

void FrechetInfinity::update(NamedTensors& state, const FeatureBatch& batch) const {
  Moments(state).add(batch.features);
  kept_.add(state, batch.features, batch.images);
}

void FrechetInfinity::merge(NamedTensors& state, const NamedTensors& other) const {
  Moments(state).add(Moments(other));
  kept_.merge(state, other);
}

std::vector<Score> FrechetInfinity::compare(const NamedTensors& generated, const NamedTensors& reference) const {
  const Tensor rows = KeptFeatures::of(generated);
  const Gaussian real{Moments(reference)};
  const double largest = static_cast<double>(rows.size(0));
  std::vector<double> inverse_sizes, distances;
  for (std::int64_t i = 0; i < options_.sizes; ++i) {
    const double part = static_cast<double>(i) / static_cast<double>(options_.sizes - 1);
    const double inverse = (1 + part * (1 / options_.smallest - 1)) / largest;
    const auto size = std::max<std::int64_t>(2, std::llround(1 / inverse));
    const std::vector<std::int64_t> order =
        permutation(rows.size(0), derive_seed(seed_, "subset", static_cast<std::uint64_t>(i)));
    const Tensor subset = rows.index_select(0, at::tensor(order, at::kLong).narrow(0, 0, size));
    inverse_sizes.push_back(1 / static_cast<double>(size));
    distances.push_back(frechet_distance(Gaussian(Moments(subset)), real));
  }
  const auto [value, error] = fitted(at::tensor(inverse_sizes, at::kDouble), at::tensor(distances, at::kDouble));
  return {{"frechet_infinity", value, error}};
}

}  // namespace casdm::set_metrics
