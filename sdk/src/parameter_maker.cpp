#include "casdm/parameter_maker.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <utility>

#include "casdm/error.h"
#include "casdm/random.h"
#include "casdm/text.h"

namespace casdm {

namespace {

constexpr double kMiB = 1 << 20;

/// Bytes of available memory, as far as the system says.
double free_memory() {
  double result = std::numeric_limits<double>::infinity();
  std::ifstream machine("/proc/meminfo");
  for (std::string line; std::getline(machine, line);) {
    if (line.starts_with("MemAvailable:")) result = 1024 * std::strtod(line.c_str() + 13, nullptr);
  }
  // The limit of a container; "max" is not a number.
  double most = 0, used = 0;
  if (std::ifstream("/sys/fs/cgroup/memory.max") >> most && std::ifstream("/sys/fs/cgroup/memory.current") >> used) {
    result = std::min(result, std::max(most - used, 0.0));
  }
  return result;
}

std::string in_gib(double bytes) { return number(std::round(bytes / kMiB / 1024 * 10) / 10) + " GiB"; }

/// Checks the available memory first: the system promises more than it has, and kills a process that uses it.
Tensor empty_parameter(std::string_view name, at::IntArrayRef shape) {
  double bytes = sizeof(float);
  for (const std::int64_t size : shape) bytes *= static_cast<double>(size);
  if (bytes >= kMiB) {
    const double free = free_memory();
    if (bytes > free) {
      throw ConfigError(text("the parameter ", quoted(std::string(name)), " ", shape, " takes ", in_gib(bytes),
                             ", and ", in_gib(free), " of memory are free; make the network smaller"));
    }
  }
  return at::empty(shape, at::kFloat);
}

}  // namespace

Tensor seeded_uniform(std::uint64_t seed, std::string_view name, at::IntArrayRef shape, double bound) {
  return empty_parameter(name, shape).uniform_(-bound, bound, make_generator(derive_seed(seed, name)));
}

Tensor seeded_normal(std::uint64_t seed, std::string_view name, at::IntArrayRef shape, double deviation) {
  return empty_parameter(name, shape).normal_(0, deviation, make_generator(derive_seed(seed, name)));
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
  return add(name, empty_parameter(name, shape).fill_(value));
}

Tensor ParameterMaker::add(const std::string& name, Tensor value) {
  value.requires_grad_(true);
  return made_.emplace_back(name, std::move(value)).second;
}

}  // namespace casdm
