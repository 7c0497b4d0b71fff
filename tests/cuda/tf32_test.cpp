#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <memory>

#include "casdm/metric_loss.h"
#include "cuda/device.h"
#include "framework/composition/model.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

/// While this object lives, networks compute in tf32.
class Tf32 {
 public:
  Tf32() { compute_in(Precision::tf32); }
  ~Tf32() { compute_in(Precision::fp32); }
  Tf32(const Tf32&) = delete;
  Tf32& operator=(const Tf32&) = delete;
};

/// An edge, and a texture a thousandth of it: there, variances are small differences of large sums.
Tensor nearly_flat() {
  const Tensor edge = at::ones({1, 3, 32, 32}) * at::linspace(-1, 1, 32).sign();
  return 0.9 * edge + 0.003 * fill(5, {1, 3, 32, 32});
}

Tensor beside(const Tensor& images) { return images + 0.003 * fill(6, images.sizes()); }

double relative(const Tensor& found, const Tensor& expected) {
  return ((found - expected).norm() / expected.norm()).item<double>();
}

struct Images {
  Tensor prediction, target;
};

struct MeasuredTf32 {
  double distance;
  Tensor gradient;
};

/// Distance and gradient, which is computed as in a training: outside of ExactFloats.
MeasuredTf32 measured(MetricLoss& metric, const Tensor& prediction, const Tensor& target) {
  const Tensor leaf = prediction.detach().requires_grad_();
  Tensor distance;
  {
    const ExactFloats exact;
    distance = metric(leaf, target, MetricContext()).sum();
  }
  distance.backward();
  return {distance.item<double>(), leaf.grad().cpu()};
}

std::shared_ptr<MetricLoss> ssim() { return make<MetricLoss>("ssim", "", {ImageShape::square(3, 32), &factory()}); }

MeasuredTf32 ssim_on_cpu(const Images& images) { return measured(*ssim(), images.prediction, images.target); }

MeasuredTf32 ssim_in_tf32(const Images& images) {
  const auto metric = ssim();
  move_to(*metric, cuda());
  const Tf32 tf32;
  return measured(*metric, images.prediction.to(cuda()), images.target.to(cuda()));
}

}  // namespace

TEST_CASE("in tf32 the factors of products have 10 bits of mantissa on CUDA, and 23 in ExactFloats") {
  const Tensor a = fill(1, {64, 64}), b = fill(2, {64, 64}), expected = a.mm(b);
  const Tf32 tf32;
  CHECK(relative(a.to(cuda()).mm(b.to(cuda())).cpu(), expected) > 1e-4);
  CHECK(relative(a.to(cuda()).mm(b.to(cuda())).cpu(), expected) < 1e-3);
  const ExactFloats exact;
  CHECK(relative(a.to(cuda()).mm(b.to(cuda())).cpu(), expected) < 1e-6);
}

TEST_CASE("SSIM of nearly flat images is exact on CUDA although the networks compute in tf32") {
  const Images flat{beside(nearly_flat()), nearly_flat()};
  CHECK(ssim_in_tf32(flat).distance == doctest::Approx(ssim_on_cpu(flat).distance).epsilon(1e-4));
}

TEST_CASE("the gradient of SSIM in tf32 is exact to a thousandth, and to a tenth where images are nearly flat") {
  const Images flat{beside(nearly_flat()), nearly_flat()}, other{fill(7, {2, 3, 32, 32}), fill(8, {2, 3, 32, 32})};
  CHECK(relative(ssim_in_tf32(other).gradient, ssim_on_cpu(other).gradient) < 1e-3);
  CHECK(relative(ssim_in_tf32(flat).gradient, ssim_on_cpu(flat).gradient) < 0.1);
}
