#pragma once

#include "casdm/module.h"
#include "casdm/value.h"
#include "options.h"
#include "shape.h"

/// DitBackbone's weights as those of diffusers' DiTTransformer2DModel.
namespace casdm::dit {

/// A model in diffusers' terms.
struct DiffusersModel {
  Value config;  ///< of config.json
  NamedTensors tensors;
};

/// Throws ConfigError with every reason when DiTTransformer2DModel cannot express the network.
/// @param options  those of the backbone that are known
DiffusersModel to_diffusers(const DitShape& shape, const NamedTensors& state, const Value& options);

/// The other way.
struct DitModel {
  DitShape shape;
  NamedTensors tensors;
  Value options{Value::Table{}};  ///< those that no shape shows
  std::int64_t image_size = 0;
};

/// Throws Error with every reason when DitBackbone cannot express the model, or its tensors are not exactly those that
/// its config asks for.
DitModel from_diffusers(const Value& config, const NamedTensors& tensors);

}  // namespace casdm::dit
