#pragma once

#include <memory>
#include <string>

#include "casdm/api.h"
#include "casdm/cascade_head.h"

namespace casdm CASDM_API {

/// A backbone under its name in checkpoints, with the channels its head asked for: what a head builds its networks
/// with.
///
///     theta_("theta", options.theta, spec, 3, 3)                            // in the head's constructor
///     modules() { return {theta_.module()}; }
///     const Tensor eps = theta_(x_t, t, batch.condition_for("theta"));
class HeadNetwork {
 public:
  /// Makes the backbone that `config` chooses.
  HeadNetwork(std::string name, const ComponentConfig& config, const CascadeHead::Spec& head, std::int64_t in_channels,
              std::int64_t out_channels);

  /// The backbone's output at the path's network_time, in the dtype of `x`, so that what follows keeps that precision
  /// under autocast. The caller scales x_t by NoiseScheduler::network_input where that is what it feeds.
  /// @param t  [B], int64 or floating point
  /// Throws Error when the output has another shape than [B, out_channels, H, W].
  Tensor operator()(const Tensor& x, const Tensor& t, const Condition& condition) const;

  /// The same, with inner features; Error when a tap has another shape than it was declared with.
  BackboneOutput with_taps(const Tensor& x, const Tensor& t, const Condition& condition,
                           const std::vector<std::string>& taps) const;

  NamedModule module(bool is_trainable = true) const { return {name_, backbone_, is_trainable, config_}; }
  const std::string& name() const { return name_; }
  const std::shared_ptr<Backbone>& backbone() const { return backbone_; }

 private:
  Tensor checked(const Tensor& output, const Tensor& x) const;

  std::string name_;
  ComponentConfig config_;
  std::int64_t out_channels_;
  std::shared_ptr<const NoiseScheduler> schedule_;
  std::shared_ptr<Backbone> backbone_;
};

/// Mean over all dimensions but the first: [B].
Tensor mean_per_image(const Tensor& x);

/// Mean of (a - b)^2 per image: [B].
Tensor squared_error(const Tensor& a, const Tensor& b);

}  // namespace casdm
