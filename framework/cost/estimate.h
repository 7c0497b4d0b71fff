#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "casdm/value.h"
#include "framework/composition/model.h"
#include "framework/cost/usage_meter.h"

namespace casdm {

/// The parameters of one module of the head.
struct ModuleSize {
  std::string module;
  std::int64_t parameters = 0;
};

/// Bytes that a training uses on its device.
struct MemoryCost {
  std::int64_t weights = 0;    ///< parameters and buffers of the head's modules
  std::int64_t optimizer = 0;  ///< the state of the optimizers
  std::int64_t averages = 0;
  std::int64_t gradients = 0;
  std::int64_t metrics = 0;      ///< the metrics' networks
  std::int64_t activations = 0;  ///< tensors made in a step, at the moment when they use most
  std::int64_t images = 0;       ///< decoded images that are kept, once all have been seen
  std::int64_t checkpoint = 0;   ///< on the CPU, copies of what is written in the background
  std::int64_t program = 0;      ///< on the CPU, the rest of the process: libraries, buffers, unused parts of the heap

  std::int64_t total() const {
    return weights + optimizer + averages + gradients + metrics + activations + images + checkpoint + program;
  }
};

/// Seconds of a step, without waiting for images, records, checkpoints, samples and evaluations.
struct TimeCost {
  double step = 0;
  double shortest = 0;  ///< of the steps that were measured, with measured_images
  double longest = 0;
  double total = 0;  ///< of all steps of the training
};

/// What a training costs, from a trial.
struct CostEstimate {
  std::int64_t batch_size = 0;
  std::int64_t parts = 1;        ///< in which one process computes its share of the batch
  std::int64_t part_images = 0;  ///< images of a part
  bool is_sharded = false;       ///< several processes would divide the optimizers' state and the averages
  std::string device;
  std::string threads;
  Precision precision = Precision::fp32;
  std::vector<ModuleSize> modules;
  std::vector<PartUsage> usage;  ///< of a step; `bytes` are the activations
  MemoryCost memory;
  std::int64_t checkpoint_on_host = 0;  ///< bytes in the host's memory that are MemoryCost::checkpoint on the CPU
  TimeCost time;
  std::int64_t steps = 0;            ///< of the training
  std::int64_t measured_steps = 0;   ///< whose time was taken
  std::int64_t measured_images = 0;  ///< in each of them; fewer than part_images: the rest is extrapolated

  bool is_on_cpu() const { return device.starts_with("cpu"); }
};

/// Takes steps for about `longest` seconds (one step more may be under way), as large as that allows up to the
/// training's own, and derives the cost of the training's steps. `run.precision` must not be automatic.
/// @param say  called with a line when measuring takes longer than a moment
CostEstimate estimate_cost(const LoadedExperiment& experiment, double longest,
                           const std::function<void(const std::string&)>& say);

/// For people, and for programs.
std::string describe(const CostEstimate& cost);
Value to_value(const CostEstimate& cost);

/// Numbers at `to` of the line through two measurements; a measurement at `to` is returned as it is, and with only one
/// (x1 = x2) the line runs through 0. Not below 0.
double extrapolated(double x1, double y1, double x2, double y2, double to);

}  // namespace casdm
