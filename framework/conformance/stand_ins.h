#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "casdm/backbone.h"
#include "casdm/cascade_head.h"
#include "casdm/component.h"
#include "casdm/noise_scheduler.h"
#include "casdm/parameter_maker.h"
#include "framework/loading/plugin_host.h"

/// The small components and inputs that a component under test gets.
namespace casdm::conformance {

/// Image and batch sizes that the tests use.
inline constexpr std::int64_t kImageSize = 32;
inline constexpr std::int64_t kBatch = 2;
inline constexpr std::int64_t kChannels = 3;
inline constexpr ImageShape kImage{kChannels, kImageSize, kImageSize};

/// The `type` of a stand-in, whatever its kind.
inline constexpr const char* kStandIn = "conformance/stand_in";

/// Repeatable images [batch, channels, size, size] in [-1, 1], smooth enough to look like images.
Tensor images(std::uint64_t seed, std::int64_t size = kImageSize, std::int64_t batch = kBatch,
              std::int64_t channels = kChannels);

/// A schedule for components that need one: linear, 100 steps.
std::shared_ptr<const NoiseScheduler> stand_in_schedule();

/// A path without whole times: the rectified flow x_t = (1 - t) x0 + t eps, t from 0.001 to 1.
std::shared_ptr<const NoiseScheduler> stand_in_flow();

/// Calls `work` with the schedule above and with the flow, except for a path that `make` refuses with ConfigError,
/// since a component may have no meaning on one of them; if it refuses both, the error is thrown. Failures on the flow
/// mention it.
void on_each_path(const std::function<void(const std::shared_ptr<const NoiseScheduler>&)>& make,
                  const std::function<void(const std::shared_ptr<const NoiseScheduler>&)>& work);

/// The smallest network that fulfils a backbone's contract: two convolutions, conditioned on everything it is given. It
/// records what it was created and called with.
class StandInBackbone final : public Backbone {
 public:
  explicit StandInBackbone(const Spec& spec);
  NamedTensors parameters() const override { return make_.made(); }
  Tensor forward(const Tensor& x, const Tensor& t, const Condition& condition) override;

  const Spec& spec() const { return spec_; }
  const std::vector<Condition>& conditions() const { return conditions_; }

 private:
  Spec spec_;
  ParameterMaker make_;
  Tensor first_, time_, second_;
  Tensor labels_;   ///< undefined: unconditional
  Tensor augment_;  ///< undefined: no augmentation
  std::vector<Condition> conditions_;
};

/// The host's factory, with stand-ins for the components inside others.
class StandInFactory final : public ComponentFactory {
 public:
  explicit StandInFactory(const PluginHost& host) : host_(host) {}

  /// The components of the plugin under test.
  const PluginCatalog& catalog() const { return host_.catalog(); }

  /// The backbones created so far.
  const std::vector<std::shared_ptr<StandInBackbone>>& backbones() const { return backbones_; }

 protected:
  std::shared_ptr<void> make_any(std::string_view kind, const ComponentConfig& config, const void* spec) const override;

 private:
  const PluginHost& host_;
  mutable std::vector<std::shared_ptr<StandInBackbone>> backbones_;
};

/// One L1-like metric.
class OneMetric final : public MetricTerms {
 public:
  static constexpr const char* kName = "metric.conformance";
  static constexpr double kWeight = 0.1;

  std::vector<LossTerm> evaluate(const Tensor& prediction, const TrainingBatch& batch,
                                 const std::string& module) const override;
};

/// A batch for heads, with seeds from which each module's dropout follows.
TrainingBatch training_batch(std::uint64_t seed, c10::Device device = c10::Device(c10::kCPU));

/// Fills every parameter with small noise, so that gradients pass through zero-initialised layers.
void perturb(const Module& module, std::uint64_t seed);

}  // namespace casdm::conformance
