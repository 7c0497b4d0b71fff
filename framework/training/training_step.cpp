#include "framework/training/training_step.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <utility>

#include "casdm/error.h"
#include "casdm/on_device.h"
#include "casdm/text.h"
#include "framework/composition/contract.h"
#include "framework/config/components_of.h"
#include "framework/device/device.h"
#include "framework/loading/global_state.h"
#include "framework/loading/untouched.h"
#include "framework/training/learning_rate.h"
#include "framework/training/periodic.h"
#include "framework/training/stray_leaves.h"
#include "framework/training/term_gradients.h"

namespace casdm {

namespace {

/// Sum of weight * mean(image_weight * value), each term scaled for the module it trains; undefined if no term has a
/// gradient.
/// @param image_weight  [B] of the part; undefined: all 1
Tensor objective(const std::vector<LossTerm>& terms, const Tensor& image_weight, std::int64_t batch_size,
                 const LossScaler& scaler) {
  Tensor total;
  for (const LossTerm& term : terms) {
    if (!term.value.requires_grad() || term.weight == 0) continue;
    const Tensor value = image_weight.defined() ? term.value * image_weight.to(term.value.scalar_type()) : term.value;
    const Tensor part = value.sum() * (term.weight * scaler.scale(term.module) / static_cast<double>(batch_size));
    total = total.defined() ? total + part : part;
  }
  return total;
}

/// `value` without the loss scale, which is 1 except in fp16.
Tensor unscaled(const Tensor& value, double scale) { return scale == 1 ? value : value / scale; }

void run_backward(const Tensor& loss, const LoadedExperiment& experiment, bool keeps_graph) {
  try {
    const WatchedBackward watched;
    loss.backward({}, keeps_graph);
  } catch (...) {
    const ComponentCatalog& catalog = experiment.host->catalog();
    std::vector<ComponentConfig> components = components_below("head", experiment.resolved, catalog);
    const std::vector<ComponentConfig> metrics = components_below("metrics", experiment.resolved, catalog);
    components.insert(components.end(), metrics.begin(), metrics.end());
    throw_attributed("the backward pass", components);
  }
}

}  // namespace

std::vector<Tensor> clipping_factors(const std::vector<Tensor>& norms, const std::vector<OptimizerOptions>& modules) {
  std::vector<Tensor> limits = norms;
  if (modules.front().grouping == Grouping::joint) {
    const Tensor joint = at::stack(norms).norm();
    limits.assign(norms.size(), joint);
  }
  std::vector<Tensor> factors;
  for (std::size_t i = 0; i < limits.size(); ++i) {
    const double largest = modules[i].clip_norm;
    factors.push_back(largest > 0 ? (largest / (limits[i] + 1e-6)).clamp_max(1.0) : at::ones_like(limits[i]));
  }
  return factors;
}

TrainingStep::TrainingStep(const LoadedExperiment& experiment, const Model& model, ExperimentMetrics& metrics,
                           TrainingState& state, c10::Device device, std::function<bool()> is_interrupted, World& world)
    : experiment_(experiment),
      options_(experiment.options),
      model_(model),
      metrics_(metrics),
      state_(state),
      device_(device),
      is_interrupted_(std::move(is_interrupted)),
      world_(world),
      share_(share_of_batch(options_.train, world)),
      part_size_(share_.count / share_.parts),
      exchange_(state.modules, world),
      graph_(options_, model, metrics, state, device, world,
             {[this] { clear_gradients(); },
              [this](const DrawnBatch& drawn, StepRecord& record) { add_gradients(drawn, record); }}) {
  for (const ModuleState& module : state.modules) optimizers_.push_back(options_.optimizer.of(module.name()));
  const Autocast possible(device, options_.run.precision);
}

std::optional<StepRecord> TrainingStep::run(const ImageBatch& images) {
  StepRecord record;
  record.step = state_.step() + 1;
  const std::int64_t seen = state_.images() + options_.train.batch_size;
  record.learning_rate = learning_rate(options_.optimizer, seen, options_.train.total_images);
  for (const OptimizerOptions& own : optimizers_) {
    record.learning_rates.push_back(learning_rate(own, seen, options_.train.total_images));
  }
  const CallTime drawing(text("step ", record.step));
  const DrawnBatch drawn = noised(images);
  record.t = drawn.t_of_all;
  const CallTime computing(text("step ", record.step, ", ", times(record.t)));
  auto memory = std::make_unique<TensorMemory>([this] { return metrics_.state(); });
  if (!gradients(drawn, record)) return std::nullopt;
  require_unchanged_state();
  record.begin_fetch(world_);
  norms_ = record.grad_norms.unbind();
  try {
    read_last(/*with_others=*/true);
  } catch (...) {
    memory->keep();  // what the step before has found is put back
    throw;
  }
  if (reads_late()) {
    state_.begin_update();
    update(record, record.defect());
    state_.end_update(options_.train.batch_size);
    unread_ = Unread{record, drawn, std::move(memory)};
    return record;
  }
  read(record, drawn, /*with_others=*/true);
  memory->keep();
  state_.begin_update();
  remember(record);
  state_.scaler.observe(record);
  update(record);
  state_.scaler.update();
  state_.end_update(options_.train.batch_size);
  return record;
}

/// The host must know the numbers first if it decides by them, if they go through its memory, or if an optimizer cannot
/// leave out a step by itself.
bool TrainingStep::reads_late() {
  const bool is_possible =
      !device_.is_cpu() && world_.queues_exchanges() && !state_.scaler.is_active() && !state_.draws.follows_losses();
  if (!is_possible || can_withhold_) return is_possible;
  can_withhold_ = !world_.any(!std::all_of(state_.modules.begin(), state_.modules.end(),
                                           [](const ModuleState& module) { return module.can_withhold(); }));
  return can_withhold_;
}

void TrainingStep::settle(bool with_others) {
  read_last(with_others);
  world_.finish();
}

void TrainingStep::read_last(bool with_others) {
  if (!unread_) return;
  Unread step = std::move(*unread_);
  unread_.reset();
  const CallTime reading(text("step ", step.record.step, ", ", times(step.record.t)));
  state_.begin_reading();
  try {
    read(step.record, step.drawn, with_others);
  } catch (const NotFinite&) {
    state_.take_back(options_.train.batch_size);
    throw;
  }
  step.memory->keep();
  remember(step.record);
  state_.end_reading();
}

/// Waits for the numbers of a step and checks them.
void TrainingStep::read(StepRecord& record, const DrawnBatch& drawn, bool with_others) {
  record.end_fetch(world_);
  if (record.extreme_prediction.defined()) metrics_.observe_extreme(record.extreme_prediction.item<double>());
  note_untrained(record);
  check(record, drawn, with_others);
}

void TrainingStep::remember(const StepRecord& record) {
  state_.statistics.add(record);
  if (record.has_finite_terms()) state_.draws.observe(record, metrics_.terms());
}

std::string TrainingStep::remark() {
  std::vector<std::string> lines = {std::exchange(untrained_, ""), std::exchange(stray_, ""), graph_.remark()};
  std::erase(lines, "");
  return join(lines, "\n");
}

DrawnBatch TrainingStep::noised(const ImageBatch& images) const {
  DrawnBatch drawn = state_.draws.draw(images);
  TrainingBatch& batch = drawn.batch;
  if (options_.data.use_labels) batch.condition.labels = to_device(images.labels, device_);
  batch.step = state_.step() + 1;
  batch.images_seen = state_.images();
  batch.total_images = options_.train.total_images;
  return drawn;
}

TrainingBatch TrainingStep::part_of(const DrawnBatch& drawn, std::int64_t part) const {
  const auto cut = [&](const Tensor& tensor) {
    return tensor.defined() ? tensor.narrow(0, part * part_size_, part_size_) : tensor;
  };
  TrainingBatch batch = drawn.batch;
  for (Tensor* tensor : {&batch.x0, &batch.eps, &batch.x_t, &batch.t, &batch.alpha, &batch.sigma, &batch.log_snr,
                         &batch.target, &batch.condition.labels, &batch.condition.augment}) {
    *tensor = cut(*tensor);
  }
  for (auto& [name, extra] : batch.condition.extras) extra = cut(extra);
  const auto first = batch.seeds.begin() + part * part_size_;
  batch.seeds = {first, first + part_size_};
  return batch;
}

Losses TrainingStep::losses(const DrawnBatch& drawn, std::int64_t part) const {
  const TrainingBatch piece = part_of(drawn, part);
  const auto gradient_changes = [this] {
    std::int64_t changes = 0;
    for (const ModuleState& module : state_.modules) changes += module.gradient_changes();
    return changes;
  };
  metrics_.set_part({piece.t, part * part_size_, drawn.t, drawn.batch.seeds, gradient_changes});
  const Autocast autocast(device_, options_.run.precision);
  const Untouched given({piece.x0, piece.eps, piece.x_t, piece.t, piece.alpha, piece.sigma, piece.log_snr, piece.target,
                         piece.condition.labels, piece.condition.augment});
  const Untouched extras(handles_in(piece.condition.extras), Untouched::Compared::bytes_if_small);
  const std::int64_t before = gradient_changes();
  Losses losses = model_.head.call(&CascadeHead::losses, piece, metrics_);
  given.check(model_.head, "tensors of the batch");
  extras.check(model_.head, "extras of the batch");
  metrics_.check_use(losses);
  if (gradient_changes() != before) {
    model_.head.fail("losses() added to the gradients of the networks, as backward() does; use torch::autograd::grad");
  }
  look_for_strays(losses);
  for (const ModuleState& module : state_.modules) {
    const std::string parameter = module.untrained_parameter();
    if (parameter.empty()) continue;
    model_.head.fail(text("losses(), or a network in it, left a parameter that the optimizer would not train: ",
                          parameter, "; a network may change the values of its weights, not their handles"));
  }
  check_losses(model_.head, losses, piece, model_.modules);
  return losses;
}

/// In the first two calls: what gets a gradient in both, and is no parameter.
void TrainingStep::look_for_strays(const Losses& losses) const {
  if (has_computed_ && !stray_leaves_) return;
  std::vector<Tensor> parameters;
  for (const ModuleState& module : state_.modules) {
    module.weights();  // fails before a checkpoint is due
    parameters.insert(parameters.end(), module.parameters().begin(), module.parameters().end());
  }
  std::vector<Tensor> strays = stray_leaves(losses.terms, parameters);
  if (!std::exchange(has_computed_, true)) {
    if (!strays.empty()) stray_leaves_ = std::move(strays);
    return;
  }
  const std::vector<Tensor> before = *std::exchange(stray_leaves_, std::nullopt);
  std::erase_if(strays, [&](const Tensor& stray) {
    return std::none_of(before.begin(), before.end(), [&](const Tensor& other) { return other.is_same(stray); });
  });
  if (strays.empty()) return;
  stray_ = text("warning: ", strays.size(), strays.size() == 1 ? " tensor" : " tensors", ", the first of shape ",
                strays.front().sizes(), ", would get a gradient and belong to no module of the head, so they are ",
                "neither trained nor saved: are all parameters listed by parameters(), and all networks by modules()?");
}

/// @param pass  last: of a step; the modules' gradients are then exchanged meanwhile
void TrainingStep::backward(const std::vector<LossTerm>& terms, const DrawnBatch& drawn, std::int64_t part, Pass pass) {
  const Tensor image_weight = drawn.weight.defined() ? drawn.weight.narrow(0, part * part_size_, part_size_) : Tensor();
  const Tensor loss = objective(terms, image_weight, options_.train.batch_size, state_.scaler);
  if (!loss.defined()) return;
  const auto run = [&] { run_backward(loss, experiment_, pass == Pass::keeps_graph); };
  pass == Pass::last ? exchange_.during(run) : run();
  for (ModuleState& module : state_.modules) module.gather_gradients();
}

bool TrainingStep::wants_term_norms() const {
  const std::int64_t every = options_.log.grad_norms_every_images;
  const std::int64_t before = state_.images();
  return Periodic{every, every > 0, {}}.is_due(before, before + options_.train.batch_size, state_.total_images());
}

bool TrainingStep::gradients(const DrawnBatch& drawn, StepRecord& record) {
  if (share_.parts == 1 && !wants_term_norms()) {
    graph_.run(drawn, record);
    return true;
  }
  clear_gradients();
  return add_gradients(drawn, record);
}

void TrainingStep::clear_gradients() {
  for (ModuleState& module : state_.modules) module.zero_grad();
  // A frozen module computes as in sampling, without dropout; an average (a teacher) as the module it follows.
  for (std::size_t i = 0; i < state_.modules.size(); ++i) {
    const std::string& followed = state_.modules[i].average_of();
    const ModuleState& decisive = followed.empty() ? state_.modules[i] : state_.module_named(followed);
    model_.modules[i].module->train(decisive.is_trainable());
  }
}

/// Also fills in the record. Returns false if interrupted between two parts of the batch.
bool TrainingStep::add_gradients(const DrawnBatch& drawn, StepRecord& record) {
  TermGradients of_terms(state_.modules, share_.parts, world_);
  const bool wants_terms = wants_term_norms();
  for (std::int64_t part = 0; part < share_.parts; ++part) {
    if (part > 0 && is_interrupted_()) return false;
    const Losses found = losses(drawn, part);
    record.add_part(found);
    for (const LossTerm& term : found.terms) {
      if (wants_terms) of_terms.add(term, [&] { backward({term}, drawn, part, Pass::keeps_graph); });
    }
    backward(found.terms, drawn, part, part + 1 == share_.parts ? Pass::last : Pass::plain);
  }
  sum_gradients(record);
  record.term_norms = of_terms.norms(state_.scaler);
  std::vector<Tensor> norms;
  for (const ModuleState& module : state_.modules) {
    norms.push_back(unscaled(module.grad_norm(), state_.scaler.scale(module.name())));
    record.modules.push_back(module.name());
  }
  record.grad_norms = at::stack(norms);
  // The norms decide about clipping, and machines may round sums differently. If exchanges are queued, the record does
  // this.
  if (!world_.queues_exchanges()) world_.take_from_first(record.grad_norms);
  record.extreme_prediction = metrics_.take_extreme();
  return true;
}

/// A module or term has a gradient if it has one in any process; a term's weight is the largest.
void TrainingStep::sum_gradients(StepRecord& record) {
  const std::size_t terms = record.terms.size();
  std::vector<double> own = record.term_weights;
  own.insert(own.end(), record.term_has_gradient.begin(), record.term_has_gradient.end());
  for (std::size_t i = 0; i < state_.modules.size(); ++i) {
    own.push_back(state_.modules[i].has_gradient() ? 1 : 0);
    own.push_back(exchange_.has_late(i) ? 1 : 0);
  }
  exchange_.begin_rest();
  // If another process is gone, this is where it is noticed: before the device waits for the sums, for ever.
  const Tensor largest = world_.gather(at::tensor(own, at::kDouble).unsqueeze(0)).amax(0);
  exchange_.end();
  const auto* next = largest.const_data_ptr<double>();
  for (std::size_t i = 0; i < terms; ++i) record.term_weights[i] = *next++;
  for (std::size_t i = 0; i < terms; ++i) record.term_has_gradient[i] = *next++ > 0;
  for (std::size_t i = 0; i < state_.modules.size(); ++i) {
    ModuleState& module = state_.modules[i];
    const bool has_gradient = *next++ > 0;
    if (!has_gradient && module.has_gradient()) module.zero_grad();  // a sum of zeros is none
    if (*next++ > 0) exchange_.add_late(i);
  }
}

void TrainingStep::note_untrained(const StepRecord& record) {
  if (!std::exchange(is_first_, false)) return;
  const bool is_separate = model_.head.call(&CascadeHead::gradients_are_separate);
  const auto is_trained = [&](const ModuleState& module) {
    for (std::size_t i = 0; i < record.terms.size(); ++i) {
      const bool has_weight =
          record.term_weights[i] != 0 || (record.term_has_gradient[i] && metrics_.has_weight(record.terms[i]));
      if (has_weight && (!is_separate || record.term_modules[i] == module.name())) return true;
    }
    return false;
  };
  std::vector<std::string> untrained;
  for (const ModuleState& module : state_.modules) {
    if (module.is_trainable() && !is_trained(module)) untrained.push_back(module.name());
  }
  if (untrained.empty()) return;
  const std::string terms = record.terms.empty() ? "" : text(" (", join(record.terms, ", "), ")");
  untrained_ = text("warning: none of the loss terms", terms, " has a weight and trains module ", join(untrained, ", "),
                    ": unless that changes later, its weights stay as they are");
}

void TrainingStep::check(const StepRecord& record, const DrawnBatch& drawn, bool with_others) {
  if (state_.scaler.is_active()) return;
  record.check_terms([&](std::int64_t image) {
    const std::string own = state_.draws.source_of_nan(drawn);
    return world_.whose(static_cast<int>(image / share_.count)) + (with_others ? join(world_.gather(own), "") : own);
  });
  const std::vector<std::string> modules = record.modules_without_finite_gradient();
  if (modules.empty()) return;
  std::vector<std::string> terms;
  if (with_others || world_.size() == 1) terms = terms_without_finite_gradient(drawn);
  throw NotFinite(text("step ", record.step, ": all loss terms (", join(record.terms, ", "),
                       ") are finite, but the gradient of module ", join(modules, ", "), " is not",
                       terms.empty() ? "" : text("; it comes from ", join(terms, ", ")), " (", times(record.t), ")"));
}

std::vector<std::string> TrainingStep::terms_without_finite_gradient(const DrawnBatch& drawn) {
  std::vector<std::string> names;
  const std::size_t count = losses(drawn, 0).terms.size();
  for (std::size_t i = 0; i < count; ++i) {
    for (ModuleState& module : state_.modules) module.zero_grad();
    std::string name;
    for (std::int64_t part = 0; part < share_.parts; ++part) {
      if (is_interrupted_()) return names;
      const Losses found = losses(drawn, part);
      const LossTerm& term = found.terms.at(i);
      name = term.name;
      backward({term}, drawn, part, Pass::plain);
    }
    StepRecord of_term;
    sum_gradients(of_term);
    world_.finish();
    for (const ModuleState& module : state_.modules) {
      if (module.grad_norm().isfinite().item<bool>()) continue;
      names.push_back("'" + name + "'");
      break;
    }
  }
  return names;
}

/// @param defect  NaN: only the device knows that the step is not to be taken. Undefined: it is
void TrainingStep::update(const StepRecord& record, const Tensor& defect) {
  const std::vector<Tensor> factors = clipping_factors(norms_, optimizers_);
  const AverageTime now{record.step, state_.images() + options_.train.batch_size, options_.train.batch_size};
  for (std::size_t i = 0; i < state_.modules.size(); ++i) {
    ModuleState& module = state_.modules[i];
    // A module without a gradient stays unchanged, like a parameter without one in PyTorch; weight decay would shrink
    // it.
    if (module.has_gradient() && module.is_due(record.step) && !state_.scaler.has_overflowed(module.name())) {
      const Tensor scale = unscaled(factors[i], state_.scaler.scale(module.name()));
      module.optimizer_step(record.learning_rates[i], scale, now, defect);
    } else {
      module.update_averages(now, defect);
    }
  }
  for (ModuleState& module : state_.modules) {
    if (module.average_of().empty()) continue;
    module.follow(state_.module_named(module.average_of()), module.average_decay(), defect);
  }
}

}  // namespace casdm
