#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "casdm/parameter_maker.h"
#include "casdm/philox.h"

namespace casdm::dit {

/// A parameter by its name.
using Lookup = std::function<Tensor(const std::string& name)>;

struct Linear : LayerParameters {
  Linear(const Lookup& find, const std::string& name) : LayerParameters{find(name + ".weight"), find(name + ".bias")} {}
  Tensor operator()(const Tensor& x) const;
};

/// norm(x) (1 + scale) + shift without weights of its own.
/// @param x       [B, N, D]
/// @param shift,  scale [B, D]
Tensor modulated(const Tensor& x, const Tensor& shift, const Tensor& scale, double eps);

struct BlockOptions {
  std::int64_t heads = 1;
  double dropout = 0;
  double mlp_norm_eps = 1e-6;
  bool has_skip = false;
};

/// Attention and an MLP, each after a norm and before a gate that the condition sets (adaLN-zero: Peebles & Xie 2023,
/// section 3.2).
class Block {
 public:
  Block(const Lookup& find, const std::string& name, const BlockOptions& options);

  /// @param x          [B, N, D]
  /// @param condition  [B, D], after its silu
  /// @param skip       the input of the corresponding block in the first half; undefined if there is none
  Tensor operator()(const Tensor& x, const Tensor& condition, const Tensor& skip, const Dropout& dropout) const;

 private:
  Tensor attention(const Tensor& x) const;

  BlockOptions options_;
  std::uint64_t dropout_layer_;  ///< derived from the name, so that no block's mask depends on which other blocks exist
  std::optional<Linear> skip_;
  Linear qkv_, proj_, fc1_, fc2_, modulation_;
};

}  // namespace casdm::dit
