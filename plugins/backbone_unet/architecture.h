#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "blocks.h"
#include "options.h"

namespace casdm::unet {

/// A block and the parameters it alone uses.
struct Node {
  std::shared_ptr<const Block> block;
  std::vector<Tensor> parameters;
};

/// Blocks in sequence: one `input_blocks.i`.
using Stage = std::vector<Node>;

/// The parts of a U-Net, with the reference's names and order.
struct Architecture {
  Linear time_embed_0;
  Linear time_embed_2;
  Tensor label_emb;                         ///< [num_classes, 4 channels]; undefined when unconditional
  Tensor augment_emb;                       ///< [4 channels, augment_size]; undefined without an augmentation
  std::vector<std::int64_t> skip_channels;  ///< of each input block's output
  std::vector<Stage> input_blocks;
  Stage middle_block;
  std::vector<Stage> output_blocks;
  GroupNorm out_0;
  Conv2d out_2;

  /// @param levels  plan_levels(options, spec)
  Architecture(ParameterMaker& make, const UNetOptions& options, const Backbone::Spec& spec,
               const std::vector<Level>& levels);
};

}  // namespace casdm::unet
