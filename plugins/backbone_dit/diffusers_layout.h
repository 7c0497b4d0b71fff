#pragma once

#include "casdm/module.h"
#include "casdm/value.h"
#include "options.h"
#include "shape.h"

/// Converts DitBackbone's weights to and from those of diffusers' DiTTransformer2DModel.
namespace casdm::dit {

/// A model in diffusers' terms.
struct DiffusersModel {
  Value config;  ///< of config.json
  NamedTensors tensors;
};

/// Throws ConfigError with every reason if DiTTransformer2DModel cannot represent the network.
/// @param options  the known options of the backbone
DiffusersModel to_diffusers(const DitShape& shape, const NamedTensors& state, const Value& options);

/// The reverse conversion.
struct DitModel {
  DitShape shape;
  NamedTensors tensors;
  Value options{Value::Table{}};  ///< those that do not affect shapes
  std::int64_t image_size = 0;
};

/// Throws Error with every reason if DitBackbone cannot represent the model, or if its tensors are not exactly those
/// that its config requires.
DitModel from_diffusers(const Value& config, const NamedTensors& tensors);

}  // namespace casdm::dit
