#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "casdm/backbone.h"
#include "edm2.h"
#include "unet_layout.h"

/// The parts of Edm2Backbone by name, and the states of such networks, recognised by names and shapes alone.
namespace casdm::unet {

/// The properties of such a network that its shapes show.
struct Edm2Layout : UNetLayout {
  ImageShape image;  ///< of the input

  std::int64_t embedding() const;  ///< width of the embedding
  /// "enc.16x16_block0" for ("enc", 1, "block0").
  std::string part(const char* side, std::size_t level, const std::string& what) const;
};

/// One block of the network.
struct Edm2Part {
  std::string name;
  Edm2Block::Kind kind = Edm2Block::Kind::encoder;
  std::int64_t in = 0, out = 0;
  bool attends = false;
  int resample = 0;  ///< -1: halves the image, 1: doubles it
  bool takes_skip =
      false;  ///< its input is the last block's output, concatenated with that of the encoder's last unused block
};

/// Throws ConfigError when `options` contradict each other or `spec`.
Edm2Layout layout_of(const Edm2Options& options, const Backbone::Spec& spec);

/// In the order of evaluation: the encoder's, two of the middle, the decoder's.
std::vector<Edm2Part> parts_of(const Edm2Layout& layout);

/// The layout of `state`, or nothing if it does not belong to such a network. A state with the layout's first names but
/// not exactly all of its tensors also gives nothing, and `why` says what differs.
std::optional<Edm2Layout> recognise_edm2(const NamedTensors& state, std::string& why);

Value options_of(const Edm2Layout& layout);

}  // namespace casdm::unet
