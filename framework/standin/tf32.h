#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

namespace casdm::standin {

/// Whether LibTorch allows tensor cores to compute `op` in TF32 now.
/// @param stack  ends with the arguments
bool computes_in_tf32(const c10::OperatorHandle& op, const torch::jit::Stack& stack);

/// Rounds the factors among the arguments at the end of the stack to 10 bits of mantissa, as tensor cores do.
void round_to_tf32(const c10::OperatorHandle& op, torch::jit::Stack& stack);

}  // namespace casdm::standin
