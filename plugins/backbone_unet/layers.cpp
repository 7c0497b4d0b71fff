#include "layers.h"

#include <ATen/ATen.h>

#include <cmath>
#include <utility>

#include "casdm/random.h"
#include "norm.h"

namespace casdm::unet {

Tensor ParameterMaker::add(const std::string& name, Tensor value) {
  value.requires_grad_(true);
  made_.emplace_back(name, value);
  return value;
}

Tensor ParameterMaker::uniform(const std::string& name, at::IntArrayRef shape, std::int64_t fan_in) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(fan_in));
  return add(name, at::empty(shape, at::kFloat).uniform_(-bound, bound, make_generator(derive_seed(seed_, name))));
}

Tensor ParameterMaker::normal(const std::string& name, at::IntArrayRef shape) {
  return add(name, at::empty(shape, at::kFloat).normal_(0.0, 1.0, make_generator(derive_seed(seed_, name))));
}

Tensor ParameterMaker::constant(const std::string& name, at::IntArrayRef shape, double value) {
  return add(name, at::full(shape, value, at::kFloat));
}

namespace {

Tensor make_affine(ParameterMaker& make, const std::string& name, at::IntArrayRef shape, std::int64_t fan_in,
                   Start start) {
  return start == Start::zero ? make.constant(name, shape, 0.0) : make.uniform(name, shape, fan_in);
}

}  // namespace

Linear::Linear(ParameterMaker& make, const std::string& name, std::int64_t in, std::int64_t out)
    : weight(make.uniform(name + ".weight", {out, in}, in)), bias(make.uniform(name + ".bias", {out}, in)) {}

Tensor Linear::operator()(const Tensor& x) const { return at::linear(x, weight, bias); }

Conv2d::Conv2d(ParameterMaker& make, const std::string& name, std::int64_t in, std::int64_t out, std::int64_t kernel,
               Start start, std::int64_t stride)
    : weight(make_affine(make, name + ".weight", {out, in, kernel, kernel}, in * kernel * kernel, start)),
      bias(make_affine(make, name + ".bias", {out}, in * kernel * kernel, start)),
      stride(stride),
      padding(kernel / 2) {}

Tensor Conv2d::operator()(const Tensor& x) const { return at::conv2d(x, weight, bias, stride, padding); }

PointwiseConv::PointwiseConv(ParameterMaker& make, const std::string& name, std::int64_t in, std::int64_t out,
                             Start start)
    : weight(make_affine(make, name + ".weight", {out, in, 1}, in, start)),
      bias(make_affine(make, name + ".bias", {out}, in, start)) {}

Tensor PointwiseConv::operator()(const Tensor& x) const { return at::linear(x, weight.squeeze(-1), bias); }

GroupNorm::GroupNorm(ParameterMaker& make, const std::string& name, std::int64_t channels, std::int64_t groups)
    : weight(make.constant(name + ".weight", {channels}, 1.0)),
      bias(make.constant(name + ".bias", {channels}, 0.0)),
      groups(groups) {}

Tensor GroupNorm::operator()(const Tensor& x) const {
  return group_norm(x, {weight, bias, {}, groups, Activation::none});
}

Tensor GroupNorm::silu(const Tensor& x, const Tensor& scale_shift) const {
  return group_norm(x, {weight, bias, scale_shift, groups, Activation::silu});
}

}  // namespace casdm::unet
