#include "framework/training/metric_terms.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <iostream>
#include <utility>

#include "casdm/error.h"
#include "casdm/on_device.h"
#include "casdm/text.h"
#include "framework/config/components_of.h"
#include "framework/device/device.h"
#include "framework/loading/attributed.h"
#include "framework/loading/part_factory.h"
#include "framework/loading/plugin_call.h"
#include "framework/support/component_name.h"
#include "framework/training/gradient_factors.h"
#include "framework/training/metric_input.h"
#include "framework/training/stray_leaves.h"

namespace casdm {

namespace {

/// Metrics compute in the precision of their inputs, whatever that of the networks.
class WithoutAutocast {
 public:
  explicit WithoutAutocast(c10::DeviceType type)
      : type_(type), was_(at::autocast::is_autocast_enabled(type)), dtype_(at::autocast::get_autocast_dtype(type)) {
    at::autocast::set_autocast_enabled(type_, false);
  }
  ~WithoutAutocast() {
    at::autocast::set_autocast_enabled(type_, was_);
    at::autocast::set_autocast_dtype(type_, dtype_);
  }

 private:
  c10::DeviceType type_;
  bool was_;
  at::ScalarType dtype_;
};

std::string range(const std::array<double, 2>& ends) { return text('[', number(ends[0]), ", ", number(ends[1]), ']'); }

/// One distance per image; if a metric compares the batch as a whole, its one number repeated.
Tensor distance_of(const Component<MetricLoss>& metric, bool is_per_image, MetricPrecision precision,
                   const Tensor& prediction, const Tensor& target, const MetricContext& context) {
  const Untouched images({prediction, target}), conditions({context.t, context.log_snr, context.labels});
  Tensor value = metric.call([&](MetricLoss& m) {
    const Autocast autocast(prediction.device(),
                            precision == MetricPrecision::bf16 ? Precision::bf16 : Precision::fp32);
    return m(prediction, target, context);
  });
  images.check(metric, "the images");
  conditions.check(metric, "the times or labels");
  const std::int64_t expected = is_per_image ? prediction.size(0) : 1;
  if (!value.defined() || value.dim() != 1 || value.size(0) != expected || !value.is_floating_point() ||
      value.device() != prediction.device() || value.layout() != at::kStrided) {
    metric.fail(text("returned ",
                     value.defined()
                         ? text(value.layout() == at::kStrided ? "" : "sparse ", at::toString(value.scalar_type()), ' ',
                                value.sizes(), " on ", value.device())
                         : "an undefined tensor",
                     "; it must return one distance ", is_per_image ? "per image" : "for the batch",
                     ", floating point [", expected, "] on ", prediction.device()));
  }
  if (precision == MetricPrecision::bf16) value = value.to(prediction.scalar_type());
  return value.expand({prediction.size(0)});
}

std::vector<Tensor> buffers_of(const Component<MetricLoss>& metric) {
  std::vector<Tensor> result;
  for (const auto& [name, buffer] : metric.call(&MetricLoss::buffers)) result.push_back(buffer);
  return result;
}

MetricContext context_of(const TrainingBatch& batch) {
  MetricContext context;
  context.t = batch.t;
  context.log_snr = batch.log_snr;
  context.labels = batch.condition.labels;
  context.seeds = batch.seeds;
  context.step = batch.step;
  context.images_seen = batch.images_seen;
  context.total_images = batch.total_images;
  context.is_training = true;
  return context;
}

/// The context of the images at the indices `chosen`, int64 on the device and on the CPU.
MetricContext part_of(MetricContext context, const Tensor& chosen, const Tensor& chosen_on_cpu) {
  for (Tensor* tensor : {&context.t, &context.log_snr, &context.labels}) {
    if (tensor->defined()) *tensor = tensor->index_select(0, chosen);
  }
  const std::vector<std::uint64_t> seeds = std::move(context.seeds);
  context.seeds.clear();
  const auto rows = chosen_on_cpu.accessor<std::int64_t, 1>();
  for (std::int64_t i = 0; i < rows.size(0) && !seeds.empty(); ++i) {
    context.seeds.push_back(seeds[static_cast<std::size_t>(rows[i])]);
  }
  return context;
}

/// The error is thrown in a call of the head, which it names.
void require_alike(const Tensor& prediction, const TrainingBatch& batch) {
  const auto shape = [](const Tensor& tensor) { return tensor.defined() ? text(tensor.sizes()) : "undefined"; };
  if (prediction.defined() && batch.target.defined() && prediction.is_floating_point() &&
      prediction.sizes() == batch.target.sizes() && prediction.dim() == 4 && prediction.size(0) == batch.t.size(0)) {
    return;
  }
  throw PluginError(text("metrics.evaluate() got a prediction ", shape(prediction), " and the target ",
                         shape(batch.target), "; expected images of one shape, [", batch.t.size(0), ", C, H, W]"));
}

void check(const MetricOptions& options, const MetricInfo& info, const std::string& name,
           const Experiment& experiment) {
  const DataOptions& data = experiment.data;
  const std::int64_t size = metric_image_size(options, data.image_size);
  const std::string place = error_prefix(options.metric) + "metric '" + name + "' ";
  if (size < info.minimum_size) {
    throw ConfigError(text(place, "needs images of at least ", info.minimum_size, " px and would get ", size,
                           " px; set resize = ", info.minimum_size, " (or more) beside it, or use larger images"));
  }
  if (info.channels != 0 && info.channels != data.channels) {
    throw ConfigError(text(place, "needs ", info.channels, " channels and would get data.channels = ", data.channels));
  }
  if (!info.is_per_image && experiment.train.accumulate > 1) {
    throw ConfigError(text(place, "compares whole batches, and train.accumulate = ", experiment.train.accumulate,
                           " cuts them into parts; set train.accumulate = 1"));
  }
  if (info.input_range && *info.input_range != options.input_range) {
    std::cerr << "warning: " << place << "expects pixels in " << range(*info.input_range) << " and gets "
              << range(options.input_range) << "; set input_range = " << range(*info.input_range) << '\n';
  }
}

}  // namespace

ExperimentMetrics::ExperimentMetrics(const LoadedExperiment& experiment, const NoiseScheduler& schedule,
                                     c10::Device device, World& world)
    : world_(world) {
  const DataOptions& data = experiment.options.data;
  for (const MetricOptions& options : experiment.options.metrics) {
    const std::string name = options.name.empty() ? component_name(options.metric.type) : options.name;
    MetricLoss::Spec spec;
    spec.image = ImageShape::square(data.channels, metric_image_size(options, data.image_size));
    spec.factory = &experiment.host->parts();
    Component<MetricLoss> metric = experiment.host->create<MetricLoss>(options.metric, spec);
    const MetricInfo info = checked_info(metric);
    check(options, info, name, experiment.options);
    MetricSelection selection(options, name, schedule);
    AttributedModule module(Component<Module>(metric.object(), options.metric));
    move_to(module, device);
    module.train(false);
    KeptBuffers<MetricLoss> memory = info.has_state ? KeptBuffers<MetricLoss>(metric) : KeptBuffers<MetricLoss>();
    std::optional<Untouched> constants;
    if (!info.has_state) constants.emplace(buffers_of(metric), Untouched::Compared::versions);
    std::vector<ComponentConfig> components =
        components_below(text("metrics[", terms_.size(), ']'), experiment.resolved, experiment.host->catalog());
    terms_.push_back({options, std::move(metric), std::move(components), name, info, std::move(selection),
                      std::move(memory), std::move(constants)});
  }
}

std::vector<std::string> ExperimentMetrics::terms() const {
  std::vector<std::string> result;
  for (const Term& term : terms_) result.push_back("metric." + term.name);
  return result;
}

bool ExperimentMetrics::has_weight(const std::string& term) const {
  return std::any_of(terms_.begin(), terms_.end(),
                     [&](const Term& t) { return term == "metric." + t.name && t.options.weight > 0; });
}

std::vector<std::pair<std::string, NamedTensors>> ExperimentMetrics::constants() const {
  std::vector<std::pair<std::string, NamedTensors>> result;
  for (const Term& term : terms_) {
    if (!term.info.has_state) result.emplace_back(term.name, term.metric.call(&MetricLoss::buffers));
  }
  return result;
}

std::string ExperimentMetrics::why_not_replayable() const {
  for (const Term& term : terms_) {
    const MetricOptions& options = term.options;
    if (!term.selection.is_of_all()) return text("metric '", term.name, "' acts on some of the images of a batch");
    if (options.crop > 0) return text("metric '", term.name, "' gets crops at places that the host draws");
    if (options.every > 1 || options.until_images > 0) {
      return text("metric '", term.name, "' does not act in every step");
    }
  }
  return "";
}

NamedTensors ExperimentMetrics::state() const {
  NamedTensors result;
  for (const Term& term : terms_) {
    for (const auto& [name, buffer] : term.memory.tensors()) result.emplace_back(term.name + "." + name, buffer);
  }
  return result;
}

ExperimentMetrics::Chosen ExperimentMetrics::chosen(const Term& term, const TrainingBatch& batch) const {
  const bool is_part = batch.t.is_same(part_.t);
  const auto in_batch = [&] { return term.selection.chosen(batch.t.to(at::kCPU, at::kDouble), batch.seeds); };
  const Tensor all = part_.t.defined() ? term.selection.chosen(part_.t_of_batch, part_.seeds_of_batch) : in_batch();
  const Tensor counts = at::tensor({all.sum().item<double>(), static_cast<double>(all.size(0))}, at::kFloat);
  if (term.options.mean == MetricMean::active)
    world_.sum(counts);  // of the whole batch, not of a part of all processes
  return {is_part ? all.narrow(0, part_.first, batch.t.size(0)) : in_batch(),
          term.selection.gradient_factor(counts[0].item<double>(), counts[1].item<double>())};
}

Tensor ExperimentMetrics::run_gradient(const Term& term, const std::function<Tensor()>& work) {
  return term.metric.call([&](const MetricLoss&) {
    try {
      return work();
    } catch (...) {
      if (term.components.size() == 1) throw;
      throw_attributed(text("the gradient of metric ", term.name), term.components);
    }
  });
}

void ExperimentMetrics::check_gradient(const Term& term, const Tensor& distance, const Tensor& prediction) const {
  if (term.batches_to_check == 0 || term.options.weight == 0 || !at::GradMode::is_enabled()) return;
  if (!prediction.requires_grad()) {
    detached_.insert(term.name);
    return;
  }
  attached_.insert(term.name);
  --term.batches_to_check;
  if (distance.requires_grad()) {
    const Tensor gradient = run_gradient(term, [&] {
      return torch::autograd::grad({distance.sum()}, {prediction}, {}, /*retain_graph=*/true,
                                   /*create_graph=*/false, /*allow_unused=*/true)[0];
    });
    const bool has_gradient = gradient.defined() && gradient.ne(0).any().item<bool>();
    if (has_gradient) term.batches_to_check = 0;
    if (has_gradient || term.batches_to_check > 0) return;
  }
  term.batches_to_check = 0;
  remarks_.push_back(text("warning: metric '", term.name,
                          "' gives the prediction no gradient in its first batches and ",
                          "so trains nothing: is its result detached, rounded, or computed outside of autograd?"));
}

/// @param distance  of `prediction` and `target`, as the metric gets them
void ExperimentMetrics::check_precision(const Term& term, const Tensor& distance, const Tensor& prediction,
                                        const Tensor& target, const MetricContext& context) const {
  const bool is_own = term.options.precision != MetricPrecision::fp32;
  if (!is_own || term.info.has_state || std::exchange(term.is_precision_checked, true)) return;
  const at::NoGradGuard no_grad;
  const Tensor whole =
      distance_of(term.metric, term.info.is_per_image, MetricPrecision::fp32, prediction, target, context);
  if (!at::equal(distance, whole) || !whole.any().item<bool>()) return;
  remarks_.push_back(text("warning: metric '", term.name,
                          "': its precision has no effect, since the metric computes no ",
                          "convolution or matrix product; leave `precision` out"));
}

Tensor ExperimentMetrics::distance(const Term& term, const Tensor& prediction, const Tensor& target,
                                   const MetricContext& context, double gradient_factor) const {
  const MetricOptions& options = term.options;
  const CropPlaces places = crop_places(options, term.name, prediction, context.seeds);
  const Tensor given = metric_input(prediction, options, places), wanted = metric_input(target, options, places);
  const Tensor value = distance_of(term.metric, term.info.is_per_image, options.precision, given, wanted, context);
  check_gradient(term, value, prediction);
  check_precision(term, value, given, wanted, context);
  Tensor factor;
  const auto multiply = [&](const Tensor& by) { factor = factor.defined() ? factor * by : by; };
  if (gradient_factor != 1) multiply(at::full_like(value.detach(), gradient_factor));
  if (options.normalise == MetricNormalisation::self) multiply(self_normalising(value, options.normalise_power));
  if (options.balance == MetricBalance::squared_error) {
    multiply(run_gradient(term, [&] { return balancing(value, prediction, target, term.info.is_per_image); }));
  }
  return factor.defined() ? with_gradient_times(value, factor) : value;
}

Tensor ExperimentMetrics::distances(const Term& term, const Tensor& prediction, const TrainingBatch& batch) const {
  const MetricContext context = context_of(batch);
  if (term.selection.is_of_all()) return distance(term, prediction, batch.target, context, 1);
  const Chosen images = chosen(term, batch);
  const Tensor rows_on_cpu = images.on_cpu.nonzero().squeeze(1);
  const Tensor rows = to_device(rows_on_cpu, prediction.device());
  if (rows.numel() == 0) return at::zeros({prediction.size(0)}, prediction.options().requires_grad(false));
  const Tensor found = distance(term, prediction.index_select(0, rows), batch.target.index_select(0, rows),
                                part_of(context, rows, rows_on_cpu), images.gradient_factor);
  return at::zeros({prediction.size(0)}, found.options().requires_grad(false)).index_put({rows}, found);
}

/// The distances of this process's images, computed with those of all processes.
Tensor ExperimentMetrics::distances_among_all(const Term& term, const Tensor& prediction,
                                              const TrainingBatch& batch) const {
  TrainingBatch all = batch;
  for (Tensor* tensor : {&all.target, &all.t, &all.alpha, &all.sigma, &all.log_snr, &all.condition.labels}) {
    if (tensor->defined()) *tensor = world_.gather(*tensor);
  }
  const std::vector<std::int64_t> seeds(batch.seeds.begin(), batch.seeds.end());
  const Tensor seeds_of_all = world_.gather(at::tensor(seeds, at::kLong));
  const auto* const begin = seeds_of_all.const_data_ptr<std::int64_t>();
  all.seeds.assign(begin, begin + seeds_of_all.numel());
  const Tensor found = distances(term, world_.gather_with_gradient(prediction), all);
  return found.narrow(0, world_.rank() * prediction.size(0), prediction.size(0));
}

std::vector<LossTerm> ExperimentMetrics::evaluate(const Tensor& prediction, const TrainingBatch& batch,
                                                  const std::string& module) const {
  is_asked_ = true;
  require_alike(prediction, batch);
  const WithoutAutocast full_precision(prediction.device().type());
  const ExactFloats exact;
  if (!terms_.empty() && !has_remarked_) {
    const Tensor extreme = prediction.detach().abs().max();
    extreme_ = extreme_.defined() ? at::maximum(extreme_, extreme) : extreme;
  }
  const auto gradient_changes = [&] { return part_.gradient_changes ? part_.gradient_changes() : 0; };
  std::vector<LossTerm> result;
  for (const Term& term : terms_) {
    if (!term.selection.is_due(batch.step, batch.images_seen)) continue;
    const auto warmup = static_cast<double>(term.options.warmup_images);
    const double ramp = warmup > 0 ? std::min(1.0, static_cast<double>(batch.images_seen) / warmup) : 1.0;
    const bool needs_all = !term.info.is_per_image || term.info.has_state;
    const std::int64_t before = gradient_changes();
    Tensor value = needs_all ? distances_among_all(term, prediction, batch) : distances(term, prediction, batch);
    if (gradient_changes() != before) {
      term.metric.fail("it added to the gradients of the networks, as backward() does; use torch::autograd::grad");
    }
    if (term.constants && !term.constants->is_untouched()) {
      term.metric.fail(kNoState);
    }
    if (term.options.t_weight == MetricWeight::alpha_bar) {
      const Tensor signal = batch.alpha.square();
      value = value * (signal / (signal + batch.sigma.square())).to(value.scalar_type());
    }
    result.push_back(
        {"metric." + term.name, value, term.options.weight * ramp * static_cast<double>(term.options.every), module});
    if (term.options.weight > 0 && value.requires_grad()) handed_out_.push_back(result.back());
  }
  return result;
}

void ExperimentMetrics::check_use(const Losses& losses) const {
  for (const LossTerm& handed : std::exchange(handed_out_, {})) {
    // It may go in under another name, or as a part of another term.
    if (!looked_for_.insert(handed.name).second || depend_on(losses.terms, handed.value)) continue;
    remarks_.push_back(text("warning: the head asked for the term '", handed.name,
                            "' and left it out of its losses, so ",
                            "the metric has no effect: its losses() must add what metrics.evaluate() returns"));
  }
  for (const std::string& name : std::exchange(detached_, {})) {
    if (!attached_.insert(name).second) continue;
    remarks_.push_back(text("warning: metric '", name, "' trains nothing: the prediction that the head gives it ",
                            "has no gradient; is it detached, or of a frozen network?"));
  }
  if (std::exchange(is_asked_, true)) return;
  std::vector<std::string> idle;
  for (const Term& term : terms_) {
    if (term.options.weight > 0) idle.push_back(quoted(term.name));
  }
  if (idle.empty()) return;
  remarks_.push_back(text("warning: the head has not asked for the metrics in the first step, so [[metrics]] ",
                          join(idle, ", "), " may have no effect: its losses() must add metrics.evaluate()"));
}

Tensor ExperimentMetrics::take_extreme() { return std::exchange(extreme_, Tensor()); }

void ExperimentMetrics::observe_extreme(double extreme) {
  if (!(extreme > 1) || std::exchange(has_remarked_, true)) return;
  remarks_.push_back(text("the metrics get predictions outside [-1, 1], here up to ", number(extreme),
                          "; they use them as they are (usual at high noise; reported once)"));
}

std::string ExperimentMetrics::remark() { return join(std::exchange(remarks_, {}), "\n"); }

}  // namespace casdm
