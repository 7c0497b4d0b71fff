#include "framework/loading/part_factory.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <iostream>
#include <set>
#include <type_traits>
#include <utility>

#include "casdm/backbone.h"
#include "casdm/feature_extractor.h"
#include "casdm/metric_loss.h"
#include "casdm/text.h"
#include "framework/loading/attributed.h"
#include "framework/loading/module_tensors.h"
#include "framework/loading/plugin_call.h"
#include "framework/loading/plugin_host.h"
#include "framework/loading/untouched.h"
#include "framework/support/component_name.h"

namespace casdm {

namespace {

/// Fails unless `found` is dense and floating point, on the device of `given`, and of the shape `expected`.
template <class K>
void check(const Component<K>& part, const std::string& what, const Tensor& found, const Tensor& given,
           const std::vector<std::int64_t>& expected) {
  const bool is_dense = found.defined() && found.layout() == at::kStrided && found.is_floating_point();
  if (is_dense && found.device() == given.device() && found.sizes() == at::IntArrayRef(expected)) return;
  part.fail(text(what, " returned ",
                 found.defined() ? text(found.layout() == at::kStrided ? "" : "sparse ",
                                        at::toString(found.scalar_type()), ' ', found.sizes(), " on ", found.device())
                                 : "an undefined tensor",
                 "; expected floating point ", at::IntArrayRef(expected), " on ", given.device()));
}

/// Fails unless `found` are the features `names`, each once and in this order.
template <class K>
void check_names(const Component<K>& part, const char* call, const char* what, const NamedTensors& found,
                 const std::vector<std::string>& names) {
  if (found.size() != names.size()) {
    part.fail(text(call, " returned ", found.size(), ' ', what, "; ", names.size(), " were asked for"));
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (found[i].first == names[i]) continue;
    part.fail(text(call, " returned ", quoted(found[i].first), " where ", quoted(names[i]), " was asked for"));
  }
}

class BackbonePart final : public AttributedModuleOf<Backbone> {
 public:
  BackbonePart(Component<Backbone> backbone, const Spec& spec)
      : AttributedModuleOf(std::move(backbone)), out_channels_(spec.out_channels) {}

  Tensor forward(const Tensor& x, const Tensor& t, const Condition& condition) override {
    return guarded(x, t, condition,
                   [&] { return checked("forward()", module().call(&Backbone::forward, x, t, condition), x); });
  }
  void train(bool on) override {
    is_training_ = on;
    const Untouched own(handles(), Untouched::Compared::versions);
    AttributedModuleOf::train(on);
    if (!own.is_untouched())
      module().fail("train() changed its parameters or buffers, so that sampling would change the run");
  }
  std::vector<TapInfo> taps() const override {
    std::vector<TapInfo> taps = module().call(&Backbone::taps);
    std::set<std::string> names;
    for (const TapInfo& tap : taps) {
      if (!is_displayable(tap.name) || !names.insert(tap.name).second) {
        module().fail(text("taps() names a tap ", quoted(tap.name), "; expected printable names, each once"));
      }
      const bool has_sides =
          std::all_of(tap.shape.begin(), tap.shape.end(), [](std::int64_t side) { return side > 0; });
      if (has_sides && (tap.shape.size() == 2 || tap.shape.size() == 3)) continue;
      module().fail(text("taps() gives ", quoted(tap.name), " the shape ", at::IntArrayRef(tap.shape),
                         "; expected [C, H, W], or [tokens, width]"));
    }
    return taps;
  }
  BackboneOutput forward_with_taps(const Tensor& x, const Tensor& t, const Condition& condition,
                                   const std::vector<std::string>& names) override {
    BackboneOutput output =
        guarded(x, t, condition, [&] { return module().call(&Backbone::forward_with_taps, x, t, condition, names); });
    output.sample = checked("forward_with_taps()", output.sample, x);
    check_names(module(), "forward_with_taps()", "taps", output.taps, names);
    for (const TapInfo& info : taps()) {
      for (const auto& [name, feature] : output.taps) {
        if (name != info.name) continue;
        std::vector<std::int64_t> expected{x.size(0)};
        expected.insert(expected.end(), info.shape.begin(), info.shape.end());
        check(module(), text("forward_with_taps() at the tap ", quoted(name)), feature, x, expected);
      }
    }
    return output;
  }

 private:
  /// What `work`, a call with these arguments, returns. Fails if it has changed one of them.
  template <class Work>
  std::invoke_result_t<const Work&> guarded(const Tensor& x, const Tensor& t, const Condition& condition,
                                            const Work& work) const {
    const Untouched small({t, condition.labels, condition.augment});
    std::vector<Tensor> of_images{x};
    for (const auto& [name, extra] : condition.extras) of_images.push_back(extra);
    const Untouched large(std::move(of_images), Untouched::Compared::bytes_if_small);
    const Untouched own(is_training_ ? std::vector<Tensor>() : handles(), Untouched::Compared::versions);
    auto result = work();
    if (!own.is_untouched()) {
      module().fail("it changed its parameters or buffers outside of training, so that sampling would change the run");
    }
    small.check(module(), "the times, labels or augmentations");
    large.check(module(), "the images or extras");
    return result;
  }

  Tensor checked(const char* what, const Tensor& output, const Tensor& x) const {
    std::vector<std::int64_t> expected = x.sizes().vec();
    expected[1] = out_channels_;
    check(module(), what, output, x, expected);
    return output;
  }

  const std::vector<Tensor>& handles() const {
    if (handles_.empty()) {
      for (const auto& [name, tensor] : state(*module().object())) handles_.push_back(tensor);
    }
    return handles_;
  }

  std::int64_t out_channels_;
  bool is_training_ = true;
  mutable std::vector<Tensor> handles_;  ///< of parameters and buffers
};

class MetricPart final : public AttributedModuleOf<MetricLoss> {
 public:
  explicit MetricPart(Component<MetricLoss> metric, const Spec& /*spec*/)
      : AttributedModuleOf(std::move(metric)), info_(checked_info(module())) {}

  MetricInfo info() const override { return info_; }
  std::vector<Tensor> prepare(const Tensor& target) override {
    return guarded({target}, [&] { return module().call(&MetricLoss::prepare, target); });
  }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override {
    return checked(prediction,
                   guarded({prediction}, [&] { return module().call(&MetricLoss::distance, prediction, target); }));
  }
  Tensor distance_in(const Tensor& prediction, const std::vector<Tensor>& target,
                     const MetricContext& context) override {
    return checked(prediction, guarded({prediction}, [&] {
                     return module().call(&MetricLoss::distance_in, prediction, target, context);
                   }));
  }

 private:
  template <class Work>
  std::invoke_result_t<const Work&> guarded(std::vector<Tensor> images, const Work& work) const {
    const Untouched given(std::move(images), Untouched::Compared::versions);
    auto result = info_.has_state ? work() : with_constant_buffers(module(), kNoState, work);
    given.check(module(), "the images");
    return result;
  }

  Tensor checked(const Tensor& prediction, Tensor distance) {
    check(module(), "distance()", distance, prediction, {info_.is_per_image ? prediction.size(0) : 1});
    const bool is_cut_off = prediction.requires_grad() && at::GradMode::is_enabled() && !distance.requires_grad();
    if (is_cut_off && !std::exchange(is_reported_, true)) {
      std::cerr << "warning: " << error_prefix(module().config())
                << "its distance gives the prediction no gradient, so it trains nothing: is it detached, or computed "
                   "outside of autograd?\n";
    }
    return distance;
  }

  MetricInfo info_;
  bool is_reported_ = false;  ///< that it has no gradient
};

class ExtractorPart final : public AttributedModuleOf<FeatureExtractor> {
 public:
  explicit ExtractorPart(Component<FeatureExtractor> extractor, const Spec& /*spec*/)
      : AttributedModuleOf(std::move(extractor)), info_(checked_info(module())) {}

  ExtractorInfo info() const override { return info_; }
  NamedTensors extract(const Tensor& images, const std::vector<std::string>& names) override {
    return extracted(module(), info_, images, names);
  }

 private:
  ExtractorInfo info_;
};

template <class K, class Part>
std::shared_ptr<void> part_of(const std::shared_ptr<void>& made, const ComponentConfig& config, const void* spec) {
  const Component<K> component(std::static_pointer_cast<K>(made), config);
  require_tensors(component);
  const std::shared_ptr<K> part = std::make_shared<Part>(component, *static_cast<const typename K::Spec*>(spec));
  return part;
}

}  // namespace

MetricInfo checked_info(const Component<MetricLoss>& metric) {
  const MetricInfo info = metric.call(&MetricLoss::info);
  const auto range = [](double low, double high) { return text('[', number(low), ", ", number(high), ']'); };
  if (!(info.lowest <= info.highest)) {
    metric.fail(text("its info() says that distances are in ", range(info.lowest, info.highest)));
  }
  if (info.input_range && !((*info.input_range)[0] < (*info.input_range)[1])) {
    metric.fail(text("its info() has the input_range ", range((*info.input_range)[0], (*info.input_range)[1])));
  }
  if (info.minimum_size < 1 || info.channels < 0) {
    metric.fail(text("its info() has minimum_size = ", info.minimum_size, " and channels = ", info.channels));
  }
  return info;
}

ExtractorInfo checked_info(const Component<FeatureExtractor>& extractor) {
  ExtractorInfo info = extractor.call(&FeatureExtractor::info);
  if (info.features.empty()) extractor.fail("it declares no feature");
  std::set<std::string> names;
  for (const FeatureInfo& feature : info.features) {
    if (!is_displayable(feature.name) || !names.insert(feature.name).second) {
      extractor.fail(text("it declares a feature ", quoted(feature.name), "; expected printable names, each once"));
    }
    if (feature.dimension < 1) {
      extractor.fail(text("its feature ", quoted(feature.name), " has the dimension ", feature.dimension,
                          "; expected at least 1"));
    }
  }
  return info;
}

NamedTensors extracted(const Component<FeatureExtractor>& extractor, const ExtractorInfo& info, const Tensor& images,
                       const std::vector<std::string>& names) {
  const Untouched given({images});
  NamedTensors found = with_constant_buffers(extractor, kNoMemory,
                                             [&] { return extractor.call(&FeatureExtractor::extract, images, names); });
  given.check(extractor, "the images");
  check_names(extractor, "extract()", "features", found, names);
  for (const auto& [name, tensor] : found) {
    for (const FeatureInfo& feature : info.features) {
      if (feature.name != name) continue;
      std::vector<std::int64_t> expected{images.size(0), feature.dimension};
      const bool has_sides = feature.is_spatial && tensor.defined() && tensor.dim() == 4;
      if (has_sides) expected.insert(expected.end(), {tensor.size(2), tensor.size(3)});
      check(extractor, text("extract() of ", quoted(name)), tensor, images, expected);
    }
  }
  return found;
}

std::shared_ptr<void> PartFactory::make_any(std::string_view kind, const ComponentConfig& config,
                                            const void* spec) const {
  std::shared_ptr<void> made = host_.make_erased(kind, config, spec);
  if (kind == Backbone::kind) return part_of<Backbone, BackbonePart>(made, config, spec);
  if (kind == MetricLoss::kind) return part_of<MetricLoss, MetricPart>(made, config, spec);
  if (kind == FeatureExtractor::kind) return part_of<FeatureExtractor, ExtractorPart>(made, config, spec);
  return made;
}

}  // namespace casdm
