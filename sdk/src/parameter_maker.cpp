#include "casdm/parameter_maker.h"

#include <ATen/ATen.h>

#include <cmath>
#include <utility>

#include "casdm/random.h"

namespace casdm {

Tensor seeded_uniform(std::uint64_t seed, std::string_view name, at::IntArrayRef shape, double bound) {
  return at::empty(shape, at::kFloat).uniform_(-bound, bound, make_generator(derive_seed(seed, name)));
}

Tensor seeded_normal(std::uint64_t seed, std::string_view name, at::IntArrayRef shape, double deviation) {
  return at::empty(shape, at::kFloat).normal_(0, deviation, make_generator(derive_seed(seed, name)));
}

LayerParameters ParameterMaker::layer(const std::string& name, at::IntArrayRef weight) {
  const std::int64_t fan_in = c10::multiply_integers(weight.slice(1));
  const Tensor first = uniform(name + ".weight", weight, fan_in);
  return {first, uniform(name + ".bias", weight.slice(0, 1), fan_in)};
}

LayerParameters ParameterMaker::zero_layer(const std::string& name, at::IntArrayRef weight) {
  const Tensor first = constant(name + ".weight", weight, 0);
  return {first, constant(name + ".bias", weight.slice(0, 1), 0)};
}

Tensor ParameterMaker::uniform(const std::string& name, at::IntArrayRef shape, std::int64_t fan_in) {
  return add(name, seeded_uniform(seed_, name, shape, 1 / std::sqrt(static_cast<double>(fan_in))));
}

Tensor ParameterMaker::normal(const std::string& name, at::IntArrayRef shape, double deviation) {
  return add(name, seeded_normal(seed_, name, shape, deviation));
}

Tensor ParameterMaker::constant(const std::string& name, at::IntArrayRef shape, double value) {
  return add(name, at::full(shape, value, at::kFloat));
}

Tensor ParameterMaker::add(const std::string& name, Tensor value) {
  value.requires_grad_(true);
  return made_.emplace_back(name, std::move(value)).second;
}

}  // namespace casdm
