#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "casdm/api.h"
#include "casdm/estimate.h"
#include "casdm/image_shape.h"
#include "casdm/noise_scheduler.h"
#include "casdm/options.h"

namespace casdm CASDM_API {

/// One evaluation of the model on the way from noise to image.
struct SampleStep {
  double t = 0;              ///< time the model is evaluated at; may lie between timesteps
  double t_next = -1;        ///< time after the step; the path's `clean` (-1 for a table of betas): the clean image
  bool needs_noise = false;  ///< whether `step` uses StepInput::noise
};

/// What a sampler is given for one step.
struct StepInput {
  std::size_t index = 0;       ///< position in the plan
  Tensor x_t = {};             ///< [B, C, H, W]
  Estimate estimate = {};      ///< the head's, at model_input(x_t) and plan[index].t
  Tensor noise = {};           ///< N(0, I) like x_t; undefined unless the step needs noise
  NoiseLevel level = {};       ///< the path's, at plan[index].t
  NoiseLevel next_level = {};  ///< at plan[index].t_next
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
  static constexpr int interface_version = 2;

  struct Spec {
    std::shared_ptr<const NoiseScheduler> schedule = nullptr;  ///< never null
    ImageShape image = {};
  };

  /// Names kept for options of these meanings: `casdm sample --steps N --eta X` sets them where the sampler has them.
  static constexpr std::string_view steps_option = "num_inference_steps";  ///< steps from noise to image
  static constexpr std::string_view eta_option = "eta";                    ///< noise of a step: 0 none, 1 as in DDPM

  virtual ~Sampler();

  /// The evaluations of one trajectory, first to last; at least one. The last leads to the path's `clean`.
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

}  // namespace casdm
