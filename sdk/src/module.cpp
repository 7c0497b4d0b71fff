#include "casdm/module.h"

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

Module::~Module() = default;
Network::~Network() = default;

NamedTensors state(const Module& module) {
  NamedTensors result = module.parameters();
  for (auto& buffer : module.buffers()) result.push_back(std::move(buffer));
  return result;
}

Tensor Network::add_parameter(std::string name, Tensor value) {
  value.requires_grad_(true);
  parameters_.emplace_back(std::move(name), value);
  return value;
}

Tensor Network::add_buffer(std::string name, Tensor value) {
  buffers_.emplace_back(std::move(name), value);
  return value;
}

}  // namespace casdm
