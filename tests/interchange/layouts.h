#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "casdm/backbone.h"
#include "casdm/value.h"
#include "casdm/weight_layout.h"

/// Converts networks to diffusers' layouts and back.
namespace casdm::testing {

struct NetworkCase {
  std::string name;
  std::string options;  ///< TOML
  Backbone::Spec spec;
};

/// A spec for square images of 16 px.
Backbone::Spec spec_of(std::int64_t in, std::int64_t out, std::int64_t classes);

/// The tensors of its state, detached.
NamedTensors detached(const Module& module);

/// A backbone of type `backbone` with repeatable parameters, in evaluation mode.
std::shared_ptr<Backbone> filled(const std::string& backbone, const NetworkCase& network);

/// The weights of `filled`, with all options.
BackboneWeights weights_of(const std::string& backbone, const NetworkCase& network);

/// The backbone that a layout has read, in evaluation mode.
std::shared_ptr<Backbone> network_of(const std::string& backbone, const BackboneWeights& model);

/// A model of a golden file ({"config", "shapes"}): its parameters are filled in the order of diffusers' names.
ForeignWeights golden_model(const Value& golden);

void check_equal(const NamedTensors& a, const NamedTensors& b);

/// Writes each network with the layout, together with an evaluation of it, into the folder that the environment
/// variable CASDM_EXPORT_DIR names, for diffusers itself to load.
/// @param needs_labels  diffusers' model takes labels even if there are no classes
void export_for_diffusers(const std::string& backbone, const WeightLayout& layout,
                          const std::vector<NetworkCase>& networks, bool needs_labels);

}  // namespace casdm::testing
