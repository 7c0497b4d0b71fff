#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "casdm/weight_shadow.h"

namespace casdm::unet {

using at::Tensor;

/// Where the weights of a network lie in memory, and in which orders.
struct CastLayout : torch::CustomClassHolder {
  using Strides = std::vector<std::vector<std::int64_t>>;

  /// @param type, format  of the casts; the format is that of kernels
  CastLayout(const std::vector<Tensor>& weights, at::ScalarType type, at::MemoryFormat format);
  bool is_for(const std::vector<Tensor>& weights, at::ScalarType type, at::MemoryFormat format) const;
  /// The rows of WeightPiece by which a kernel goes from one order to the other; empty strides: without that weight.
  /// @param count  of the numbers in their memory; those between and after the weights have rows without a place there.
  ///               0: only the weights have rows
  Tensor pieces_of(const std::vector<Tensor>& weights, const Strides& strides, std::int64_t count = 0) const;

  at::ScalarType type;
  at::MemoryFormat format;
  std::vector<std::int64_t> offsets;  ///< of each weight, from the beginning of their memory
  std::int64_t length = 0;            ///< of that memory
  Strides strides_of_casts;
  Tensor of_casts;               ///< pieces from weights to casts
  Strides strides_of_gradients;  ///< of the casts' gradients, as they were last
  Tensor of_gradients;           ///< pieces from those to the weights' gradients
  WeightShadow shadow;           ///< casts that an optimiser writes
  bool is_current = false;       ///< whether they are those of the present weights
};

/// The weights of a network in bf16, made by one kernel or by that of the optimiser, where autocast would cast each by
/// an operation of its own, and their gradients back in float32 by two. In float32 likewise the kernels of convolutions
/// in the format of the images.
class WeightCasts {
 public:
  /// @param weights  of layers that compute under autocast
  explicit WeightCasts(std::vector<Tensor> weights) : weights_(std::move(weights)) {}

  /// While this object lives, `cast` knows these weights in this thread, if the device takes kernels of
  /// casdm/block_kernel.h, the weights lie in one piece of memory, as in training, and autocast is to bf16; without
  /// autocast it knows kernels whose images are channels-last.
  class Use {
   public:
    /// @param format  of the images
    Use(WeightCasts& casts, c10::Device device, at::MemoryFormat format);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    std::unordered_map<const c10::TensorImpl*, Tensor> before_;
  };

  /// As Module says; no copy before an evaluation has been in bf16.
  WeightShadow begin_shadow(const Tensor& weights);
  void end_shadow();

 private:
  bool lie_in_one_piece(c10::Device device) const;
  std::vector<Tensor> cast_for(at::ScalarType type) const;
  std::int64_t changes() const;

  std::vector<Tensor> weights_;
  c10::intrusive_ptr<CastLayout> layout_;
  Tensor flat_;                   ///< all weights, of which the shadow is
  std::int64_t shadowed_at_ = 0;  ///< `changes` when it was written
};

/// `weight` as made for this evaluation, a kernel of a convolution in the format of the images; `weight` itself outside
/// of `Use`.
Tensor cast(const Tensor& weight);

}  // namespace casdm::unet
