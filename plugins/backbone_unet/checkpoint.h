#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>
#include <vector>

namespace casdm::unet {

using at::Tensor;

/// A part of a network: an image, the embedded time, and the dropout generator (absent: none).
using BlockFunction = std::function<Tensor(const Tensor& x, const Tensor& embedding, std::optional<at::Generator>)>;

/// `block(x, embedding, dropout)`, keeping its arguments alone for the backward pass, which
/// evaluates it again (Chen et al. 2016, "Training deep nets with sublinear memory cost").
///
/// The second evaluation repeats the first bitwise: it draws from the dropout generator as it was,
/// without touching the generator itself, and under the same autocast state. Gradients reach x,
/// the embedding and `parameters` through one node, so hooks and reducers on parameters work.
/// Without grad mode this is a plain call. Not differentiable twice.
Tensor checkpoint(BlockFunction block, const Tensor& x, const Tensor& embedding,
                  const std::optional<at::Generator>& dropout, const std::vector<Tensor>& parameters);

}  // namespace casdm::unet
