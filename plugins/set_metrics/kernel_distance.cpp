#include "kernel_distance.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "casdm/random.h"
#include "kernels.h"

namespace casdm::set_metrics {

namespace {

constexpr double kMostImages = 1e9;
constexpr const char* kImagesDoc = "Most images of each set whose features are kept and compared, chosen at random.";

/// `size` rows of `rows`, drawn without replacement.
Tensor drawn(const Tensor& rows, std::int64_t size, std::uint64_t seed) {
  return rows.index_select(0, at::tensor(permutation(rows.size(0), seed), at::kLong).narrow(0, 0, size));
}

constexpr double kNoScore = std::numeric_limits<double>::quiet_NaN();

/// Whether, in float64, the kernel is the same for all pairs of images, or zero for all of them: then it says nothing
/// about either set.
bool is_void(double bandwidth, const Tensor& x, const Tensor& y, const Discrepancy& found) {
  constexpr double kLeastPart = 1e-9;  // of a similarity; smaller values are lost in the rounding of the sums
  const Tensor all = at::cat({x, y}).to(at::kDouble);
  const double mean_square =
      2 * (all - all.mean(0)).square().sum(1).mean().item<double>();  // of the distance between two images
  if (mean_square == 0) return false;                                 // all images are the same
  return mean_square / (2 * bandwidth * bandwidth) < kLeastPart || !(found.similarity > 0);
}

}  // namespace

void KernelDistanceOptions::describe(Schema<KernelDistanceOptions>& s) {
  s.option("images", &KernelDistanceOptions::images, kImagesDoc).range(2, kMostImages);
  s.option("subsets", &KernelDistanceOptions::subsets,
           "Number of random subsets; 0: one estimate from all images that are kept.")
      .range(0, 100000);
  s.option("subset_size", &KernelDistanceOptions::subset_size,
           "Images of a subset; of a smaller set all of its images are taken.")
      .range(2, kMostImages)
      .not_with("subsets", {0});
}

KernelDistance::KernelDistance(const Options& options, const Spec& spec)
    : KeepsFeatures(spec, options.images), options_(options), seed_(spec.seed) {}

SetMetricInfo KernelDistance::info() const {
  return {.scores = {{.name = "kernel_distance", .has_standard_error = true}}, .images_kept = kept_.limit()};
}

std::vector<Score> KernelDistance::compare(const NamedTensors& generated, const NamedTensors& reference) const {
  const Tensor x = KeptFeatures::of(generated), y = KeptFeatures::of(reference);
  const std::int64_t subsets = std::max<std::int64_t>(1, options_.subsets);
  const std::int64_t smaller = std::min(x.size(0), y.size(0));
  const std::int64_t size = options_.subsets == 0 ? smaller : std::min(options_.subset_size, smaller);
  const Kernel kernel = polynomial_kernel();
  Discrepancy sum;
  for (std::int64_t i = 0; i < subsets; ++i) {
    const auto index = static_cast<std::uint64_t>(i);
    const Discrepancy one = options_.subsets == 0
                                ? discrepancy(kernel, x, y, true)
                                : discrepancy(kernel, drawn(x, size, derive_seed(seed_, "generated subset", index)),
                                              drawn(y, size, derive_seed(seed_, "reference subset", index)), true);
    sum.value += one.value;
    sum.generated_variance += one.generated_variance;
    sum.reference_variance += one.reference_variance;
  }
  const double count = static_cast<double>(subsets);
  const auto images = [&](const Tensor& rows) {
    return options_.subsets == 0 ? static_cast<double>(rows.size(0))
                                 : std::min(static_cast<double>(rows.size(0)), count * static_cast<double>(size));
  };
  const double variance = sum.generated_variance / count / images(x) + sum.reference_variance / count / images(y);
  return {{"kernel_distance", sum.value / count, std::sqrt(variance)}};
}

void MmdOptions::describe(Schema<MmdOptions>& s) {
  s.option("bandwidth", &MmdOptions::bandwidth, "Deviation of the Gaussian kernel.").greater_than(0);
  s.option("scale", &MmdOptions::scale, "Factor of the result.").range(1e-9, 1e9);
  s.option("unit_length", &MmdOptions::unit_length, "Bring the features of each image to length 1 first.");
  s.option("unbiased", &MmdOptions::unbiased, "Leave out an image's similarity to itself; the result may be below 0.");
  s.option("images", &MmdOptions::images, kImagesDoc).range(2, kMostImages);
}

Mmd::Mmd(const Options& options, const Spec& spec) : KeepsFeatures(spec, options.images), options_(options) {}

SetMetricInfo Mmd::info() const {
  return {.scores = {{.name = "mmd", .has_standard_error = true}}, .images_kept = kept_.limit()};
}

std::vector<Score> Mmd::compare(const NamedTensors& generated, const NamedTensors& reference) const {
  const auto prepared = [&](const NamedTensors& state) {
    const Tensor rows = KeptFeatures::of(state);
    return options_.unit_length ? rows / rows.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-12) : rows;
  };
  const Tensor x = prepared(generated), y = prepared(reference);
  const Discrepancy found = discrepancy(gaussian_kernel(options_.bandwidth), x, y, options_.unbiased);
  if (is_void(options_.bandwidth, x, y, found)) return {{"mmd", kNoScore, kNoScore}};
  const double variance = found.generated_variance / static_cast<double>(x.size(0)) +
                          found.reference_variance / static_cast<double>(y.size(0));
  return {{"mmd", options_.scale * found.value, options_.scale * std::sqrt(variance)}};
}

}  // namespace casdm::set_metrics
