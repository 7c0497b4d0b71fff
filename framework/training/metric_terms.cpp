#include "framework/training/metric_terms.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <iostream>
#include <set>
#include <utility>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/composition/attributed.h"

namespace casdm {

namespace {

/// Metrics are computed in the precision of what they are given, never lower.
class WithoutAutocast {
 public:
  explicit WithoutAutocast(c10::DeviceType type) : type_(type), was_(at::autocast::is_autocast_enabled(type)) {
    at::autocast::set_autocast_enabled(type_, false);
  }
  ~WithoutAutocast() { at::autocast::set_autocast_enabled(type_, was_); }

 private:
  c10::DeviceType type_;
  bool was_;
};

/// What the metric is fed: resized, and mapped from [-1, 1] to its input range.
Tensor fitted(Tensor image, const MetricOptions& options) {
  const std::int64_t size = options.resize;
  if (size > 0 && image.size(-1) != size) {
    image = size < image.size(-1) ? at::_upsample_bilinear2d_aa(image, {size, size}, /*align_corners=*/false)
                                  : at::upsample_bilinear2d(image, {size, size}, /*align_corners=*/false);
  }
  const auto [low, high] = options.input_range;
  if (low == -1 && high == 1) return image;
  return (image + 1) * ((high - low) / 2) + low;
}

std::string range(const std::array<double, 2>& ends) { return text('[', number(ends[0]), ", ", number(ends[1]), ']'); }

std::string bare_name(const std::string& type) { return type.substr(type.find('/') + 1); }

/// One distance for each image.
Tensor distance_of(const Component<MetricLoss>& metric, const Tensor& prediction, const Tensor& target) {
  Tensor value = metric.call([&](MetricLoss& m) { return m(prediction, target); });
  if (!value.defined() || value.dim() != 1 || value.size(0) != prediction.size(0) || !value.is_floating_point() ||
      value.device() != prediction.device()) {
    metric.fail(text(
        "returned ",
        value.defined() ? text(at::toString(value.scalar_type()), ' ', value.sizes(), " on ", value.device())
                        : "an undefined tensor",
        "; it must return one distance per image, floating point [", prediction.size(0), "] on ", prediction.device()));
  }
  return value;
}

void check(const MetricOptions& options, const Component<MetricLoss>& metric, const std::string& name,
           const DataOptions& data) {
  const MetricInfo info = metric.call(&MetricLoss::info);
  const std::int64_t size = options.resize > 0 ? options.resize : data.image_size;
  const std::string place = error_prefix(options.metric) + "metric '" + name + "' ";
  if (size < info.minimum_size) {
    throw ConfigError(text(place, "needs images of at least ", info.minimum_size, " px and would get ", size,
                           " px; set resize = ", info.minimum_size, " (or more) beside it, or use larger images"));
  }
  if (info.channels != 0 && info.channels != data.channels) {
    throw ConfigError(text(place, "needs ", info.channels, " channels and would get data.channels = ", data.channels));
  }
  if (!(options.input_range[0] < options.input_range[1])) {
    throw ConfigError(text(place, "has input_range = ", range(options.input_range), ", which does not rise"));
  }
  if (info.input_range && *info.input_range != options.input_range) {
    std::cerr << "warning: " << place << "is made for pixels in " << range(*info.input_range) << " and is given "
              << range(options.input_range) << "; set input_range = " << range(*info.input_range) << '\n';
  }
}

}  // namespace

ExperimentMetrics::ExperimentMetrics(const LoadedExperiment& experiment, const NoiseScheduler& schedule,
                                     c10::Device device)
    : alphas_cumprod_(at::tensor(schedule.alphas_cumprod(), at::kDouble).to(device)),
      num_train_timesteps_(static_cast<double>(schedule.num_train_timesteps())) {
  std::set<std::string> names;
  const DataOptions& data = experiment.options.data;
  for (const MetricOptions& options : experiment.options.metrics) {
    const std::string name = options.name.empty() ? bare_name(options.metric.type) : options.name;
    if (!names.insert(name).second) {
      throw ConfigError(text("metrics: two are named '", name, "'; set name = \"...\" in one of them"));
    }
    if (options.t_range[0] < 0 || options.t_range[1] > 1 || options.t_range[0] >= options.t_range[1]) {
      throw ConfigError(text("metrics: t_range of '", name, "' must rise within [0, 1], got [", options.t_range[0],
                             ", ", options.t_range[1], "]"));
    }
    MetricLoss::Spec spec;
    spec.channels = data.channels;
    spec.image_size = options.resize > 0 ? options.resize : data.image_size;
    spec.factory = experiment.host.get();
    Component<MetricLoss> metric = experiment.host->create<MetricLoss>(options.metric, spec);
    check(options, metric, name, data);
    AttributedModule module(Component<Module>(metric.object(), options.metric));
    move_to(module, device);
    module.train(false);
    terms_.push_back({options, std::move(metric), name});
  }
}

double ExperimentMetrics::weight(const Term& term) const {
  const auto warmup = static_cast<double>(term.options.warmup_images);
  return term.options.weight * (warmup > 0 ? std::min(1.0, static_cast<double>(images_) / warmup) : 1.0);
}

void ExperimentMetrics::set_part(std::int64_t images, const Tensor& t, const Tensor& t_on_cpu) {
  images_ = images;
  t_ = t;
  t_on_cpu_ = t_on_cpu;
}

Tensor ExperimentMetrics::on_cpu(const Tensor& t) const { return t.is_same(t_) ? t_on_cpu_ : t.to(at::kCPU); }

void ExperimentMetrics::check_gradient(const Term& term, const Tensor& distance, const Tensor& prediction) const {
  if (term.is_checked || term.options.weight == 0 || !prediction.requires_grad() || !at::GradMode::is_enabled()) return;
  term.is_checked = true;
  if (distance.requires_grad()) {
    const Tensor gradient = term.metric.call([&](const MetricLoss&) {
      return torch::autograd::grad({distance.sum()}, {prediction}, {}, /*retain_graph=*/true,
                                   /*create_graph=*/false, /*allow_unused=*/true)[0];
    });
    if (gradient.defined() && gradient.ne(0).any().item<bool>()) return;
  }
  without_gradient_.push_back(text("warning: metric '", term.name,
                                   "' gives the prediction no gradient in this batch and ",
                                   "so trains nothing: is its result detached, rounded, or made from numbers?"));
}

Tensor ExperimentMetrics::distances(const Term& term, const Tensor& prediction, const TrainingBatch& batch) const {
  const auto distance = [&](const Tensor& predicted, const Tensor& target) {
    const Tensor value = distance_of(term.metric, fitted(predicted, term.options), fitted(target, term.options));
    check_gradient(term, value, predicted);
    return value;
  };
  const auto [low, high] = term.options.t_range;
  if (low == 0 && high == 1) return distance(prediction, batch.x0);
  const Tensor part = (on_cpu(batch.t) + 1).to(at::kDouble) / num_train_timesteps_;
  const Tensor chosen = part.ge(low).logical_and(part.le(high)).nonzero().squeeze(1).to(prediction.device());
  Tensor values = at::zeros({prediction.size(0)}, prediction.options());
  if (chosen.numel() == 0) return values;
  return values.index_put({chosen}, distance(prediction.index_select(0, chosen), batch.x0.index_select(0, chosen)));
}

std::vector<LossTerm> ExperimentMetrics::evaluate(const Tensor& prediction, const TrainingBatch& batch,
                                                  const std::string& module) const {
  const WithoutAutocast full_precision(prediction.device().type());
  if (!terms_.empty() && !has_remarked_) {
    const Tensor extreme = prediction.detach().abs().max();
    extreme_ = extreme_.defined() ? at::maximum(extreme_, extreme) : extreme;
  }
  std::vector<LossTerm> result;
  for (const Term& term : terms_) {
    const double factor = weight(term);
    Tensor value = distances(term, prediction, batch);
    if (term.options.t_weight == "alpha_bar") {
      value = value * alphas_cumprod_.index_select(0, batch.t).to(value.scalar_type());
    }
    result.push_back({"metric." + term.name, value, factor, module});
  }
  return result;
}

std::string ExperimentMetrics::remark() {
  std::vector<std::string> lines = std::exchange(without_gradient_, {});
  const double extreme = extreme_.defined() ? extreme_.item<double>() : 0;
  extreme_.reset();
  if (extreme > 1) {
    has_remarked_ = true;
    lines.push_back(text("the metrics are given predictions outside [-1, 1], here up to ", number(extreme),
                         "; they take them as they are (usual at high noise, said once)"));
  }
  return join(lines, "\n");
}

}  // namespace casdm
