#include "sliced_wasserstein.h"

#include <ATen/ATen.h>

#include <cmath>

#include "casdm/philox.h"
#include "casdm/random.h"
#include "state.h"

namespace casdm::set_metrics {

namespace {

/// Mean over the columns of the squared 2-Wasserstein distance of x [n, K] and y [m, K].
double squared_distance(const Tensor& x, const Tensor& y) {
  const Tensor a = std::get<0>(x.to(at::kDouble).sort(0)), b = std::get<0>(y.to(at::kDouble).sort(0));
  const std::int64_t n = a.size(0), m = b.size(0);
  // Both quantile functions are constant between neighbouring multiples of 1/n and 1/m.
  const auto steps = [](std::int64_t count) { return at::arange(count + 1, at::kDouble) / static_cast<double>(count); };
  const Tensor ends = std::get<0>(at::cat({steps(n), steps(m)}).sort());
  const Tensor width = ends.diff();
  const Tensor middle = ends.narrow(0, 0, width.size(0)) + width / 2;
  const auto at_middle = [&](const Tensor& sorted) {
    const std::int64_t count = sorted.size(0);
    return sorted.index_select(0, (middle * static_cast<double>(count)).to(at::kLong).clamp_max(count - 1));
  };
  return ((at_middle(a) - at_middle(b)).square() * width.unsqueeze(1)).sum(0).mean().item<double>();
}

}  // namespace

void SlicedWassersteinOptions::describe(Schema<SlicedWassersteinOptions>& s) {
  s.option("directions", &SlicedWassersteinOptions::directions, "Number of random directions.").range(1, 100000);
  s.option("images", &SlicedWassersteinOptions::images,
           "Most images of each set whose projections are kept and compared, chosen at random.")
      .range(2, 1e9);
}

SlicedWasserstein::SlicedWasserstein(const Options& options, const Spec& spec)
    : kept_(options.images, options.directions, spec.seed) {
  require_pooled(spec.feature);
  const Tensor normal = normal_like(at::empty({1, spec.feature.dimension, options.directions}, at::kDouble),
                                    {derive_seed(spec.seed, "directions")})[0];
  directions_ = normal / normal.norm(2, {0}, /*keepdim=*/true);
}

SetMetricInfo SlicedWasserstein::info() const {
  return {.scores = {{"sliced_wasserstein"}}, .images_kept = kept_.limit()};
}

void SlicedWasserstein::update(NamedTensors& state, const FeatureBatch& batch) const {
  kept_.add(state, batch.features.to(at::kCPU, at::kDouble).mm(directions_), batch.images);
}

std::vector<Score> SlicedWasserstein::compare(const NamedTensors& generated, const NamedTensors& reference) const {
  return {
      {"sliced_wasserstein", std::sqrt(squared_distance(KeptFeatures::of(generated), KeptFeatures::of(reference)))}};
}

}  // namespace casdm::set_metrics
