#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "casdm/backbone.h"
#include "options.h"

namespace casdm::dit {

/// Everything that the shapes of a network's tensors show.
struct DitShape {
  std::int64_t in_channels = 3;
  std::int64_t out_channels = 3;
  std::int64_t patch = 2;
  std::int64_t width = 384;
  std::int64_t hidden = 1536;  ///< of the MLPs
  std::int64_t depth = 12;
  std::int64_t bottleneck = 0;
  bool has_skips = false;
  std::int64_t num_classes = 0;
  std::int64_t augment_size = 0;
  std::int64_t patches = 256;
};

DitShape shape_of(const DitOptions& options, const Backbone::Spec& spec);

/// Height and width of the square images with this many patches; 0 if there is no such square.
std::int64_t square_side(const DitShape& shape);

/// How a parameter is initialised.
enum class Start {
  glorot,  ///< uniform, variance 2 / (in + out) (Glorot & Bengio 2010)
  small,   ///< N(0, 0.02^2)
  zero,
  positions,  ///< not a parameter: the fixed embedding of positions
};

struct DitTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  Start start = Start::zero;
};

/// All tensors of the network, in a stable order. The names are those of the paper's implementation;
/// "a_embedder.weight", "blocks.i.skip_linear.*" and "x_embedder.proj1.weight", "proj2.*" exist if an option asks for
/// them.
std::vector<DitTensor> tensors_of(const DitShape& shape);

/// The network with exactly these tensors, or nothing; `why` then says what differs if it is nearly one.
std::optional<DitShape> recognise(const NamedTensors& tensors, std::string& why);

/// The block whose input block `i` of `depth` also gets, if there is one.
std::optional<std::int64_t> skip_source(std::int64_t i, std::int64_t depth);

/// The fixed embedding of the positions of rows x columns patches, float32 [1, rows * columns, width]: half of the
/// numbers encode the column and half the row, each as sines followed by cosines (Peebles & Xie 2023; MAE's).
Tensor position_embedding(std::int64_t rows, std::int64_t columns, std::int64_t width);

}  // namespace casdm::dit
