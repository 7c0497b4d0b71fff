#include "framework/training/power_profile.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

double inner_product(const PowerProfile& a, const PowerProfile& b) {
  const PowerProfile& shorter = a.end < b.end ? a : b;
  const PowerProfile& longer = a.end < b.end ? b : a;
  return (a.gamma + 1) * (b.gamma + 1) / (a.gamma + b.gamma + 1) * std::pow(shorter.end / longer.end, longer.gamma) /
         longer.end;
}

Combination combine(const std::vector<PowerProfile>& from, const PowerProfile& to) {
  if (from.empty()) throw Error("there is no average to combine");
  const auto count = static_cast<std::int64_t>(from.size());
  // The normal equations of least squares, A x = b, with every profile scaled to norm 1, so that A has a unit diagonal.
  std::vector<double> products, wanted;
  for (const PowerProfile& a : from) {
    for (const PowerProfile& b : from) products.push_back(inner_product(a, b));
    wanted.push_back(inner_product(a, to));
  }
  const at::Tensor A = at::tensor(products, at::kDouble).reshape({count, count});
  const at::Tensor b = at::tensor(wanted, at::kDouble).reshape({count, 1});
  const at::Tensor norm = A.diagonal().sqrt().reshape({count, 1});
  const auto solution = at::linalg_lstsq(A / (norm * norm.t()), b / norm, /*rcond=*/1e-13, "gelsd");
  at::Tensor x = std::get<0>(solution) / norm;
  x = x / x.sum();

  Combination result;
  for (std::int64_t i = 0; i < count; ++i) result.coefficients.push_back(x[i][0].item<double>());
  const double whole = inner_product(to, to);
  const double squared = whole - 2 * x.t().mm(b).item<double>() + x.t().mm(A).mm(x).item<double>();
  result.error = std::sqrt(std::max(0.0, squared / whole));
  return result;
}

}  // namespace casdm
