#include "framework/conformance/stand_ins.h"

#include <ATen/ATen.h>

#include <optional>

#include "casdm/beta_schedule.h"
#include "casdm/random.h"
#include "casdm/text.h"
#include "framework/conformance/conformance.h"
#include "framework/conformance/suites.h"

namespace casdm::conformance {

namespace {

std::vector<double> linear_betas(int count) {
  std::vector<double> betas;
  for (int i = 0; i < count; ++i) betas.push_back(1e-3 + (0.2 - 1e-3) * i / (count - 1));
  return betas;
}

class RectifiedFlow final : public NoiseScheduler {
 public:
  TimeRange range() const override { return {.first = 1e-3, .last = 1, .clean = 0}; }
  Tensor alpha(const Tensor& t) const override { return 1 - t.to(at::kDouble); }
  Tensor sigma(const Tensor& t) const override { return t.to(at::kDouble); }
};

}  // namespace

Tensor images(std::uint64_t seed, std::int64_t size, std::int64_t batch, std::int64_t channels) {
  at::Generator generator = make_generator(derive_seed(seed, "conformance images"));
  const Tensor coarse = at::empty({batch, channels, 6, 6}, at::kFloat).uniform_(-1, 1, generator);
  const Tensor fine = at::empty({batch, channels, size, size}, at::kFloat).normal_(0, 0.05, generator);
  return (at::upsample_bilinear2d(coarse, {size, size}, false) + fine).clamp(-1, 1);
}

std::shared_ptr<const NoiseScheduler> stand_in_schedule() {
  static const auto schedule = std::make_shared<const BetaSchedule>(linear_betas(100));
  return schedule;
}

std::shared_ptr<const NoiseScheduler> stand_in_flow() {
  static const auto flow = std::make_shared<const RectifiedFlow>();
  return flow;
}

void on_each_path(const std::function<void(const std::shared_ptr<const NoiseScheduler>&)>& make,
                  const std::function<void(const std::shared_ptr<const NoiseScheduler>&)>& work) {
  std::optional<ConfigError> refusal;
  std::optional<Skip> skip;
  bool is_tested = false;
  for (const auto& path : {stand_in_schedule(), stand_in_flow()}) {
    try {
      make(path);
    } catch (const ConfigError& error) {
      refusal = error;
      continue;
    }
    try {
      work(path);
      is_tested = true;
    } catch (const Skip& why) {
      skip = why;
    } catch (const Failure& failure) {
      if (path == stand_in_schedule()) throw;
      throw Failure(text("on a rectified flow, t from 0.001 to 1: ", failure.what()));
    }
  }
  if (is_tested) return;
  if (skip) throw *skip;
  throw *refusal;
}

StandInBackbone::StandInBackbone(const Spec& spec) : spec_(spec), make_(spec.seed) {
  first_ = make_.normal("first.weight", {8, spec.image.channels, 3, 3}, 0.2);
  time_ = make_.normal("time.weight", {8}, 0.1);
  second_ = make_.normal("second.weight", {spec.out_channels, 8, 3, 3}, 0.1);
  if (spec.condition.num_classes > 0) labels_ = make_.normal("labels.weight", {spec.condition.num_classes, 8}, 0.1);
  if (spec.condition.augment_size > 0) augment_ = make_.normal("augment.weight", {8, spec.condition.augment_size}, 0.1);
}

Tensor StandInBackbone::forward(const Tensor& x, const Tensor& t, const Condition& condition) {
  conditions_.push_back(condition);
  Tensor shift = t.to(at::kFloat).unsqueeze(1) * 0.01 * time_;
  if (labels_.defined() && condition.labels.defined()) shift = shift + at::embedding(labels_, condition.labels);
  if (augment_.defined() && condition.augment.defined()) shift = shift + at::linear(condition.augment, augment_);
  const Tensor hidden = at::tanh(at::conv2d(x.to(at::kFloat), first_, {}, 1, 1) + shift.unsqueeze(-1).unsqueeze(-1));
  const Tensor result = at::conv2d(hidden, second_, {}, 1, 1);
  return x.scalar_type() == at::kDouble ? result.to(at::kDouble) : result;
}

std::shared_ptr<void> StandInFactory::make_any(std::string_view kind, const ComponentConfig& config,
                                               const void* spec) const {
  if (config.type != kStandIn) return host_.make_erased(kind, config, spec);
  const Suite* suite = find_suite(kind);
  if (suite == nullptr || suite->stand_in == nullptr) {
    throw Skip(text("there is no stand-in for the ", kind, " it is made of"));
  }
  std::shared_ptr<void> made = suite->stand_in(spec);
  if (kind == Backbone::kind) {
    backbones_.push_back(std::static_pointer_cast<StandInBackbone>(std::static_pointer_cast<Backbone>(made)));
  }
  return made;
}

std::vector<LossTerm> OneMetric::evaluate(const Tensor& prediction, const TrainingBatch& batch,
                                          const std::string& module) const {
  require(prediction.sizes() == batch.target.sizes(),
          text("it gives the metrics a prediction of shape ", prediction.sizes(), ", expected ", batch.target.sizes()));
  return {{kName, (prediction - batch.target).abs().mean({1, 2, 3}), kWeight, module}};
}

TrainingBatch training_batch(std::uint64_t seed, c10::Device device) {
  at::Generator generator = make_generator(derive_seed(seed, "head batch"));
  const Tensor x0 = images(1);
  const Tensor t = at::arange(kBatch, at::kLong) * 30 + 20;
  const Tensor eps = at::empty_like(x0).normal_(0, 1, generator);
  TrainingBatch batch = noised_batch(*stand_in_schedule(), x0.to(device), t.to(device), eps.to(device));
  for (std::int64_t i = 0; i < kBatch; ++i)
    batch.seeds.push_back(derive_seed(seed, "image", static_cast<std::uint64_t>(i)));
  return batch;
}

void perturb(const Module& module, std::uint64_t seed) {
  const at::NoGradGuard no_grad;
  at::Generator generator = make_generator(derive_seed(seed, "perturbation"));
  for (const auto& [name, parameter] : module.parameters()) {
    Tensor(parameter).add_(at::empty_like(parameter).normal_(0, 0.05, generator));
  }
}

}  // namespace casdm::conformance
