#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "adm_layout.h"
#include "casdm/philox.h"
#include "layers.h"
#include "options.h"

namespace casdm::unet {

/// The inputs of a block besides the image.
struct BlockInput {
  Tensor embedding;  ///< [B, width]: the embedded time (and class), through `embedding_layer`, at least in float32
  Dropout dropout;
};

/// One part of an `input_blocks.i`, `middle_block` or `output_blocks.i` of the reference.
class Block {
 public:
  virtual ~Block();
  virtual Tensor forward(const Tensor& x, const BlockInput& input) const = 0;
  /// The layer that makes the block's embedding; null: it has none. The network evaluates those of all blocks at once.
  virtual const Linear* embedding_layer() const { return nullptr; }
  /// Whether the block is large enough to be worth evaluating twice under gradient checkpointing.
  virtual bool is_checkpointable() const { return false; }
};

struct ResBlockOptions {
  std::int64_t in = 0;
  std::int64_t out = 0;
  std::int64_t embedding = 0;
  std::int64_t groups = 32;
  double dropout = 0.0;
  bool use_scale_shift_norm = true;
  Resample resample = Resample::none;
  Convolution convolution = Convolution::auto_;
};

/// norm, silu, (resample), conv, time, norm, silu, dropout, conv (initially zero), plus the (resampled) input, passed
/// through a 1x1 convolution if the width changes.
class ResBlock : public Block {
 public:
  ResBlock(ParameterMaker& make, const std::string& name, const ResBlockOptions& options);
  Tensor forward(const Tensor& x, const BlockInput& input) const override;
  const Linear* embedding_layer() const override { return &emb_linear_; }
  bool is_checkpointable() const override { return true; }

 private:
  ResBlockOptions options_;
  std::uint64_t dropout_layer_;  ///< derived from the name, so that no block's mask depends on which other blocks exist
  GroupNorm in_norm_;
  Conv2d in_conv_;
  Linear emb_linear_;
  GroupNorm out_norm_;
  Conv2d out_conv_;
  std::optional<Conv2d> skip_;
};

/// Self-attention over all positions, added to its input; the projection is initially zero.
class AttentionBlock : public Block {
 public:
  AttentionBlock(ParameterMaker& make, const std::string& name, std::int64_t channels, std::int64_t heads,
                 std::int64_t groups, AttentionOrder order);
  Tensor forward(const Tensor& x, const BlockInput& input) const override;
  bool is_checkpointable() const override { return true; }

 private:
  std::int64_t heads_;
  AttentionOrder order_;
  GroupNorm norm_;
  PointwiseConv qkv_;
  PointwiseConv proj_out_;
};

/// The first convolution.
class ConvBlock : public Block {
 public:
  ConvBlock(ParameterMaker& make, const std::string& name, std::int64_t in, std::int64_t out);
  Tensor forward(const Tensor& x, const BlockInput& input) const override;

 private:
  Conv2d conv_;
};

/// Halves (strided 3x3 convolution `op`, or average pooling) or doubles (nearest neighbour, then
/// a 3x3 convolution `conv`, or nothing) height and width.
class ResampleBlock : public Block {
 public:
  ResampleBlock(ParameterMaker& make, const std::string& name, std::int64_t channels, Resample resample, bool use_conv,
                Convolution convolution);
  Tensor forward(const Tensor& x, const BlockInput& input) const override;

 private:
  Resample resample_;
  std::optional<Conv2d> conv_;
};

}  // namespace casdm::unet
