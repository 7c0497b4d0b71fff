#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "blocks.h"
#include "options.h"

namespace casdm::unet {

/// A block and the parameters that its `forward` uses, and nothing else does.
struct Node {
  std::shared_ptr<const Block> block;
  std::vector<Tensor> parameters;
};

/// Consecutive blocks: one `input_blocks.i`.
using Stage = std::vector<Node>;

/// The stages of a U-Net in the order of evaluation.
struct Stages {
  std::vector<Stage> input_blocks;
  Stage middle_block;
  std::vector<Stage>
      output_blocks;  ///< the input of each is the last stage's output and, beside it, an input block's, from the end
  std::int64_t middle_channels = 0;  ///< of the middle block's output
};

/// The parts of a U-Net, with the reference's names and order.
struct Architecture {
  Linear time_embed_0;
  Linear time_embed_2;
  Tensor label_emb;    ///< [num_classes, 4 channels]; undefined if unconditional
  Tensor augment_emb;  ///< [4 channels, augment_size]; undefined without augmentation
  Stages stages;
  GroupNorm out_0;
  Conv2d out_2;

  /// @param levels  plan_levels(options, spec)
  Architecture(ParameterMaker& make, const UNetOptions& options, const Backbone::Spec& spec,
               const std::vector<Level>& levels);
};

}  // namespace casdm::unet
