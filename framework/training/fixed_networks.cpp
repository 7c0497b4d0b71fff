#include "framework/training/fixed_networks.h"

#include <ATen/ATen.h>

#include "casdm/feature_extractor.h"
#include "framework/config/components_of.h"

namespace casdm {

namespace {

/// A number that identifies the direction of the tensor: its component along a fixed direction.
double print_of(const Tensor& tensor) {
  const Tensor values = tensor.detach().to(at::kCPU, at::kDouble).flatten();
  const Tensor direction = at::arange(1, values.numel() + 1, at::kDouble).square().mul(0.37).sin();
  const double length = values.norm().item<double>();
  return length > 0 ? values.dot(direction).item<double>() / length : 0;
}

}  // namespace

Value fixed_networks(const LoadedExperiment& experiment, const ExperimentMetrics& metrics) {
  Value result{Value::Table{}};
  for (const auto& [name, buffers] : metrics.constants()) {
    Value::Array prints;
    for (const auto& [buffer, tensor] : buffers) prints.emplace_back(print_of(tensor));
    if (!prints.empty()) result.set("metric." + name, std::move(prints));
  }
  FeatureExtractor::Spec spec;
  const DataOptions& data = experiment.options.data;
  spec.image = ImageShape::square(data.channels, data.image_size);
  for (const auto& [key, table] : components_of(FeatureExtractor::kind, experiment.resolved, {"metrics", "evaluate"},
                                                experiment.host->catalog())) {
    const auto extractor = experiment.host->create<FeatureExtractor>({table->find("type")->as_string(), *table}, spec);
    const std::string weights = extractor.call(&FeatureExtractor::info).weights;
    if (!weights.empty()) result.set(key, weights);
  }
  return result;
}

}  // namespace casdm
