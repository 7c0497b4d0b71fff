#pragma once

#include "casdm/choice.h"

namespace casdm {

/// Arithmetic of the networks: `run.precision`. `automatic` stands for fp32 or bf16, and becomes one of them before a
/// training starts; see framework/cost/precision_choice.h.
enum class Precision { fp32, tf32, bf16, fp16, automatic };

constexpr auto choices_of(Precision) {
  using enum Precision;
  return choices<Precision>({{fp32, "fp32"}, {tf32, "tf32"}, {bf16, "bf16"}, {fp16, "fp16"}, {automatic, "auto"}});
}

/// Whether networks compute in half precision, with fp32 weights.
constexpr bool is_half(Precision precision) { return precision == Precision::bf16 || precision == Precision::fp16; }

}  // namespace casdm
