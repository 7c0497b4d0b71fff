#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "casdm/cascade_head.h"
#include "casdm/noise_scheduler.h"

namespace casdm {

/// One evaluation of the model on the way from noise to image.
struct SampleStep {
  double t = 0;              ///< timestep the model is evaluated at, from 0, in the unspaced schedule
  double t_next = -1;        ///< timestep after the step; -1: the clean image
  bool needs_noise = false;  ///< whether `step` draws on StepInput::noise
};

/// What a sampler is given for one step.
struct StepInput {
  std::size_t index = 0;  ///< position in the plan
  Tensor x_t;             ///< [B, C, H, W]
  Estimate estimate;      ///< the head's, at model_input(x_t) and plan[index].t
  Tensor noise;           ///< N(0, I) like x_t; undefined unless the step needs noise
};

/// Turns the estimates of a head into a trajectory from noise to an image.
///
/// The host draws x_T ~ N(0, I), scales it by `initial_scale`, and for each step of `plan` calls
/// the head and then `step`. A sampler may keep a history between the steps of one trajectory;
/// `start` clears it. One thread calls it at a time, without gradient.
class Sampler {
 public:
  using Interface = Sampler;
  static constexpr std::string_view kind = "sampler";
  static constexpr int interface_version = 1;

  struct Spec {
    std::shared_ptr<const NoiseScheduler> schedule;  ///< never null
  };

  virtual ~Sampler();

  /// The evaluations of one trajectory, first to last; at least one. The last has t_next = -1.
  virtual const std::vector<SampleStep>& plan() const = 0;

  /// Standard deviation of the first x_t.
  virtual double initial_scale() const { return 1.0; }

  /// Begins a new trajectory.
  virtual void start() {}

  /// What the model is fed at plan()[index]; samplers that work on unscaled noise override it.
  virtual Tensor model_input(const Tensor& x_t, std::size_t /*index*/) const { return x_t; }

  /// x at plan()[index].t_next, same shape and dtype as x_t.
  virtual Tensor step(const StepInput& input) = 0;
};

/// How an estimate's clean images are kept in the range of images.
enum class Clip {
  none,
  each,   ///< x0* and x0' each to [-1, 1], then mixed
  mixed,  ///< the mixture to [-1, 1]
};

/// The values of a `clip` option ("none", "each", "mixed"), and their meaning.
std::vector<std::string> clip_names();
Clip clip_from(const std::string& name);

/// The clean image that stands for the whole estimate: r x0' + (1-r) x0*, or the only one defined.
/// Mixing clean images equals mixing posterior means or DDIM means (both are linear in x0).
Tensor mixed_x0(const Estimate& estimate, Clip clip);

}  // namespace casdm
