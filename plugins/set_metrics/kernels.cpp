#include "kernels.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace casdm::set_metrics {

namespace {

constexpr std::int64_t kBlock = 512;  // rows of the kernel matrix at a time

/// Sums over the rows and columns of a kernel matrix, and its diagonal if it is square.
struct Sums {
  Tensor rows, columns, diagonal;
};

Sums sums_of(const Kernel& kernel, const Tensor& x, const Tensor& y) {
  Sums sums{at::empty({x.size(0)}, at::kDouble), at::zeros({y.size(0)}, at::kDouble), {}};
  if (x.is_same(y)) sums.diagonal = at::empty({x.size(0)}, at::kDouble);
  for (std::int64_t i = 0; i < x.size(0); i += kBlock) {
    const std::int64_t count = std::min(kBlock, x.size(0) - i);
    const Tensor block = kernel(x.narrow(0, i, count), y);
    sums.rows.narrow(0, i, count).copy_(block.sum(1));
    sums.columns.add_(block.sum(0));
    if (sums.diagonal.defined()) sums.diagonal.narrow(0, i, count).copy_(block.diagonal(i));
  }
  return sums;
}

/// The contribution of each image of one set: [n].
Tensor influence(const Sums& own, const Tensor& across, double others, bool is_unbiased) {
  const double count = static_cast<double>(own.rows.size(0));
  const Tensor within = is_unbiased ? (own.rows - own.diagonal) / (count - 1) : own.rows / count;
  return 2 * (within - across / others);
}

}  // namespace

Kernel polynomial_kernel() {
  return [](const Tensor& x, const Tensor& y) {
    Tensor base = x.to(at::kDouble).mm(y.to(at::kDouble).t()).div_(static_cast<double>(x.size(1))).add_(1);
    return base * base * base;
  };
}

Kernel gaussian_kernel(double bandwidth) {
  return [bandwidth](const Tensor& x, const Tensor& y) {
    // In float64: the squared distance of close points is a small difference of large numbers.
    const Tensor a = x.to(at::kDouble), b = y.to(at::kDouble);
    const Tensor squares = at::addmm(b.square().sum(1), a, b.t(), 1, -2) + a.square().sum(1, /*keepdim=*/true);
    return squares.clamp_min_(0).mul_(-1 / (2 * bandwidth * bandwidth)).exp_();
  };
}

Discrepancy discrepancy(const Kernel& kernel, const Tensor& x, const Tensor& y, bool is_unbiased) {
  const double n = static_cast<double>(x.size(0)), m = static_cast<double>(y.size(0));
  const Sums xx = sums_of(kernel, x, x), yy = sums_of(kernel, y, y), xy = sums_of(kernel, x, y);
  const Tensor of_x = influence(xx, xy.rows, m, is_unbiased), of_y = influence(yy, xy.columns, n, is_unbiased);
  const Tensor similarity = (xx.rows - xx.diagonal).sum() + (yy.rows - yy.diagonal).sum() + xy.rows.sum();
  return {((of_x.mean() + of_y.mean()) / 2).item<double>(), of_x.var().item<double>(), of_y.var().item<double>(),
          similarity.item<double>()};
}

}  // namespace casdm::set_metrics
