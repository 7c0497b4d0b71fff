#include "precision_recall.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace casdm::set_metrics {

namespace {

constexpr std::int64_t kRowsAtOnce = 512;  // rows of the distance matrix at a time

/// Distances below this fraction of the vectors' squares count as 0, up to rounding: so equal images are at distance 0
/// and lie in each other's balls, however small these are.
constexpr double kSquareRounding = 1e-13;

struct Points {
  Tensor rows;     ///< [n, D] float64
  Tensor squares;  ///< [n]

  explicit Points(Tensor values) : rows(std::move(values)), squares(rows.norm(2, {1}).square()) {}
  std::int64_t size() const { return rows.size(0); }
};

/// Squared distances from `count` points of `a`, starting at index `first`, to all points of `b`: [count, b.size()].
Tensor distances(const Points& a, std::int64_t first, std::int64_t count, const Points& b) {
  Tensor scale = a.squares.narrow(0, first, count).unsqueeze(1) + b.squares;
  Tensor result = at::addmm(scale, a.rows.narrow(0, first, count), b.rows.t(), 1, -2);
  return result.masked_fill_(result < scale.mul_(kSquareRounding), 0);
}

/// Calls task(first, squared distances) for blocks of rows of `a`.
template <class Task>
void for_blocks(const Points& a, const Points& b, const Task& task) {
  for (std::int64_t i = 0; i < a.size(); i += kRowsAtOnce) {
    task(i, distances(a, i, std::min(kRowsAtOnce, a.size() - i), b));
  }
}

/// Squared distance of each point to its k-th neighbour.
Tensor radii(const Points& points, std::int64_t k) {
  Tensor result = at::empty({points.size()}, at::kDouble);
  for_blocks(points, points, [&](std::int64_t first, const Tensor& squared) {
    // k + 1, since the nearest neighbour of every point is the point itself.
    const Tensor nearest = std::get<0>(squared.topk(k + 1, 1, /*largest=*/false, /*sorted=*/true));
    result.narrow(0, first, squared.size(0)).copy_(nearest.select(1, k));
  });
  return result;
}

double average(const Tensor& x) { return x.to(at::kDouble).mean().item<double>(); }

}  // namespace

void PrecisionRecallOptions::describe(Schema<PrecisionRecallOptions>& s) {
  s.option("neighbours", &PrecisionRecallOptions::neighbours, "k: a ball reaches to the k-th neighbour.")
      .range(1, 1000);
  s.option("images", &PrecisionRecallOptions::images,
           "Most images of each set whose features are kept and compared, chosen at random.")
      .range(1001, 1e9);
}

PrecisionRecall::PrecisionRecall(const Options& options, const Spec& spec)
    : KeepsFeatures(spec, options.images), options_(options) {}

SetMetricInfo PrecisionRecall::info() const {
  return {.scores = {{"precision", false}, {"recall", false}, {"density", false}, {"coverage", false}},
          .minimum_images = options_.neighbours + 1,
          .images_kept = kept_.limit()};
}

std::vector<Score> PrecisionRecall::compare(const NamedTensors& generated, const NamedTensors& reference) const {
  Tensor y = KeptFeatures::of(reference).to(at::kDouble);
  const Tensor centre = y.mean(0);  // subtracting it makes vectors shorter, which reduces rounding errors
  const Points real(y.sub_(centre)), fake(KeptFeatures::of(generated).to(at::kDouble).sub_(centre));
  const Tensor real_radii = radii(real, options_.neighbours), fake_radii = radii(fake, options_.neighbours);
  Tensor balls =
      at::zeros({fake.size()}, at::kDouble);  // number of the reference's balls that contain each generated image
  Tensor is_recalled = at::empty({real.size()}, at::kBool), is_covered = at::zeros({real.size()}, at::kBool);
  for_blocks(real, fake, [&](std::int64_t first, const Tensor& squared) {
    const Tensor within = squared <= real_radii.narrow(0, first, squared.size(0)).unsqueeze(1);
    is_covered.narrow(0, first, squared.size(0)).copy_(within.any(1));
    is_recalled.narrow(0, first, squared.size(0)).copy_((squared <= fake_radii).any(1));
    balls.add_(within.sum(0));
  });
  return {{"precision", average(balls > 0)},
          {"recall", average(is_recalled)},
          {"density", average(balls) / static_cast<double>(options_.neighbours)},
          {"coverage", average(is_covered)}};
}

}  // namespace casdm::set_metrics
