#pragma once

#include <cstdint>

#include "casdm/backbone.h"
#include "casdm/choice.h"
#include "casdm/options.h"

namespace casdm::dit {

/// The frequencies of the 128 sines and cosines of the time: 10000^(-i/128), or 10000^(-i/127) as in diffusers' model.
enum class Frequencies { dit, diffusers };

constexpr auto choices_of(Frequencies) {
  using enum Frequencies;
  return choices<Frequencies>({{dit, "dit"}, {diffusers, "diffusers"}});
}

/// Options of the transformer of Peebles & Xie 2023. The defaults are DiT-S/2.
struct DitOptions {
  std::int64_t patch = 2;
  std::int64_t width = 384;
  std::int64_t depth = 12;
  std::int64_t num_heads = 6;
  double mlp_ratio = 4.0;
  std::int64_t bottleneck = 0;
  bool skips = false;
  double dropout = 0.0;
  Frequencies time_frequencies = Frequencies::dit;
  double mlp_norm_eps = 1e-6;

  static void describe(Schema<DitOptions>& s);
};

/// Throws ConfigError when the options contradict each other or `spec`; makes no tensor.
void check(const DitOptions& options, const Backbone::Spec& spec);

/// The number of hidden units in a block's MLP.
std::int64_t hidden_width(const DitOptions& options);

}  // namespace casdm::dit
