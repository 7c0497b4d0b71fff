#pragma once

#include <ATen/core/Tensor.h>

#include "casdm/api.h"

namespace casdm CASDM_API {

using at::Tensor;

/// A copy of a module's weights in bf16, in the order in which its layers read them. A OnePassOptimizer writes it along
/// with the weights, so that the next evaluation need not read them again to convert them. See Module::begin_shadow.
struct WeightShadow {
  Tensor values;  ///< bfloat16 [N], as many as the flat weights; undefined: the module wants no copy
  /// int32 [P, 8], P rows as WeightPiece of `kWeightPieces` reads them: each of the N weights is in exactly one.
  Tensor pieces;
};

/// Source for a BlockKernel: `struct WeightPiece`, consecutive elements of one tensor in flat memory.
///
///     const WeightPiece piece(b.input<int>(0) + 8 * row);
///     for (int i = piece.first + b.thread; i < piece.end(); i += b.threads) {
///       const float weight = weights[piece.here(i)];
///       if (piece.is_shadowed()) store(values[piece.there(i)], weight);
///     }
extern const char* const kWeightPieces;

}  // namespace casdm
