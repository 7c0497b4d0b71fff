#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "casdm/api.h"

namespace casdm CASDM_API {

using at::Tensor;

/// One named part of the training objective.
struct LossTerm {
  std::string name;    ///< "eps", "x0", "mu", "metric.<name>", ...
  Tensor value;        ///< [B], without its weight; requires gradients, or is only recorded
  double weight = 1;   ///< its factor in the objective; each term counts as its mean over the batch
  std::string module;  ///< the module it trains
};

/// A number per image worth recording: the gate, a norm.
struct Statistic {
  std::string name;
  Tensor value;  ///< [B], no gradient
};

struct Losses {
  std::vector<LossTerm> terms;
  std::vector<Statistic> statistics;
};

}  // namespace casdm
