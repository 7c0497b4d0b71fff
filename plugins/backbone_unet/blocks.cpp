#include "blocks.h"

#include <ATen/ATen.h>

#include <optional>
#include <vector>

#include "casdm/random.h"

namespace casdm::unet {
namespace {

Tensor resampled(const Tensor& x, Resample resample) {
  if (resample == Resample::down) return at::avg_pool2d(x, {2, 2});
  return resample == Resample::up ? doubled(x) : x;
}

/// update + x, in place if the dtypes match. Nothing else may hold `update`.
Tensor residual(Tensor update, const Tensor& x) {
  return update.scalar_type() == x.scalar_type() ? update.add_(x) : update + x;
}

}  // namespace

Block::~Block() = default;

ResBlock::ResBlock(ParameterMaker& make, const std::string& name, const ResBlockOptions& o)
    : options_(o),
      dropout_layer_(derive_seed(0, name)),
      in_norm_(make, name + ".in_layers.0", o.in, o.groups),
      in_conv_(make, name + ".in_layers.2", o.in, o.out, 3, Start::random, 1, o.convolution),
      emb_linear_(make, name + ".emb_layers.1", o.embedding, o.use_scale_shift_norm ? 2 * o.out : o.out),
      out_norm_(make, name + ".out_layers.0", o.out, o.groups),
      out_conv_(make, name + ".out_layers.3", o.out, o.out, 3, Start::zero, 1, o.convolution) {
  if (o.in != o.out) skip_.emplace(make, name + ".skip_connection", o.in, o.out, 1);
}

Tensor ResBlock::forward(const Tensor& x, const BlockInput& input) const {
  Tensor h = in_conv_(resampled(in_norm_.silu(x), options_.resample));
  h = options_.use_scale_shift_norm ? out_norm_.scaled_silu(h, input.embedding)
                                    : out_norm_.offset_silu(h, input.embedding);
  h = input.dropout.apply(h, options_.dropout, dropout_layer_);
  const Tensor skip = resampled(x, options_.resample);
  return residual(out_conv_(h), skip_ ? (*skip_)(skip) : skip);
}

AttentionBlock::AttentionBlock(ParameterMaker& make, const std::string& name, std::int64_t channels, std::int64_t heads,
                               std::int64_t groups, AttentionOrder order)
    : heads_(heads),
      order_(order),
      norm_(make, name + ".norm", channels, groups),
      qkv_(make, name + ".qkv", channels, 3 * channels),
      proj_out_(make, name + ".proj_out", channels, channels, Start::zero) {}

Tensor AttentionBlock::forward(const Tensor& x, const BlockInput& /*input*/) const {
  const std::int64_t batch = x.size(0), channels = x.size(1), positions = x.size(2) * x.size(3);
  // [B, L, C] is a view of a channels-last image, and so are its heads: nothing is copied.
  const Tensor sequence = norm_(x).flatten(2).transpose(1, 2);
  const Tensor qkv = qkv_(sequence);
  const bool legacy = order_ == AttentionOrder::legacy;
  const std::vector<Tensor> parts = legacy ? qkv.view({batch, positions, heads_, 3, channels / heads_}).unbind(3)
                                           : qkv.view({batch, positions, 3, heads_, channels / heads_}).unbind(2);
  const Tensor attended =
      at::scaled_dot_product_attention(parts[0].transpose(1, 2), parts[1].transpose(1, 2), parts[2].transpose(1, 2));
  const Tensor update = proj_out_(attended.transpose(1, 2).reshape({batch, positions, channels}));
  return x + update.transpose(1, 2).unflatten(2, {x.size(2), x.size(3)});
}

ConvBlock::ConvBlock(ParameterMaker& make, const std::string& name, std::int64_t in, std::int64_t out)
    : conv_(make, name, in, out, 3) {}

Tensor ConvBlock::forward(const Tensor& x, const BlockInput& /*input*/) const { return conv_(x); }

ResampleBlock::ResampleBlock(ParameterMaker& make, const std::string& name, std::int64_t channels, Resample resample,
                             bool use_conv, Convolution convolution)
    : resample_(resample) {
  if (!use_conv) return;
  const bool down = resample == Resample::down;
  conv_.emplace(make, name + (down ? ".op" : ".conv"), channels, channels, 3, Start::random, down ? 2 : 1, convolution);
}

Tensor ResampleBlock::forward(const Tensor& x, const BlockInput& /*input*/) const {
  if (resample_ == Resample::down) return conv_ ? (*conv_)(x) : resampled(x, resample_);
  const Tensor larger = resampled(x, resample_);
  return conv_ ? (*conv_)(larger) : larger;
}

}  // namespace casdm::unet
