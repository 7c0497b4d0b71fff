#include <ATen/ATen.h>

#include <cmath>

#include "casdm/error.h"
#include "casdm/plugin.h"
#include "casdm/set_metric.h"

namespace {

using at::Tensor;

struct TemplateNameOptions {
  bool root = true;

  static void describe(casdm::Schema<TemplateNameOptions>& s) {
    s.option("root", &TemplateNameOptions::root, "The distance itself; else its square.");
  }
};

/// The distance between the mean features of two sets.
class TemplateNameMetric : public casdm::SetMetric {
 public:
  using Options = TemplateNameOptions;

  TemplateNameMetric(const Options& options, const Spec& spec) : options_(options), dimension_(spec.feature.dimension) {
    if (spec.feature.is_spatial) throw casdm::ConfigError("template_name compares features without places");
  }

  casdm::SetMetricInfo info() const override { return {.scores = {{"template_name"}}, .minimum_images = 1}; }

  casdm::NamedTensors start() const override {
    return {{"count", at::zeros({}, at::kDouble)}, {"sum", at::zeros({dimension_}, at::kDouble)}};
  }

  void update(casdm::NamedTensors& state, const casdm::FeatureBatch& batch) const override {
    state[0].second += batch.features.size(0);
    state[1].second += batch.features.to(at::kCPU, at::kDouble).sum(0);
  }

  void merge(casdm::NamedTensors& state, const casdm::NamedTensors& other) const override {
    for (std::size_t i = 0; i < state.size(); ++i) state[i].second += other[i].second;
  }

  std::vector<casdm::Score> compare(const casdm::NamedTensors& generated,
                                    const casdm::NamedTensors& reference) const override {
    const double square = (mean(generated) - mean(reference)).square().sum().item<double>();
    return {{"template_name", options_.root ? std::sqrt(square) : square}};
  }

 private:
  static Tensor mean(const casdm::NamedTensors& state) { return state[1].second / state[0].second; }

  Options options_;
  std::int64_t dimension_;
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "A metric of sets of my own", .licence = "Apache-2.0"});
  plugin.add<TemplateNameMetric>("template_name", "Distance between the mean features of two sets.");
}
