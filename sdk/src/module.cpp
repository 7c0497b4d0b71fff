#include "casdm/module.h"

namespace casdm {

Module::~Module() = default;

NamedTensors state(const Module& module) {
  NamedTensors result = module.parameters();
  for (auto& buffer : module.buffers()) result.push_back(std::move(buffer));
  return result;
}

}  // namespace casdm
