#pragma once

#include "adam.h"
#include "casdm/one_pass_optimizer.h"

namespace casdm::optimizer_standard {

/// The tensors that a step of Adam changes, all flat and of one length.
struct AdamTensors {
  Tensor weights, gradients, exp_avg, exp_avg_sq;
  Tensor count;  ///< float32 []: steps, this one included
};

/// Whether `adam_pass` can compute on `device`.
bool has_adam_pass(c10::Device device);

/// Scaling, a step of Adam, averages, and zeroing of the gradients, element by element in one pass.
void adam_pass(const AdamTensors& tensors, const AdamWOptions& options, AdamMoments::Decay decay,
               const WholeStep& step);

}  // namespace casdm::optimizer_standard
