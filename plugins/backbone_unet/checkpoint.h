#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace casdm::unet {

using at::Tensor;

/// A part of a network; must depend only on an image and the embedded time.
using BlockFunction = std::function<Tensor(const Tensor& x, const Tensor& embedding)>;

/// Computes `block(x, embedding)` and keeps only its arguments for the backward pass, which evaluates it again (Chen et
/// al. 2016, "Training deep nets with sublinear memory cost").
///
/// The second evaluation repeats the first bitwise, under the same autocast state. Gradients reach x, the embedding and
/// `parameters` through one node, so hooks and reducers on parameters work. Without grad mode this is a plain call. The
/// gradient cannot be differentiated again.
/// @param embedding  may be undefined
Tensor checkpoint(BlockFunction block, const Tensor& x, const Tensor& embedding, const std::vector<Tensor>& parameters);

}  // namespace casdm::unet
