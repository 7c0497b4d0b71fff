#include "framework/training/step_graph.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "casdm/error.h"
#include "casdm/on_device.h"
#include "casdm/text.h"
#include "framework/support/exception_message.h"
#include "framework/support/silence.h"
#include "framework/training/tensor_memory.h"
#include "sdk/src/recording.h"

namespace casdm {

namespace {

/// Steps before a recording, in which libraries choose and compile their kernels and components make their tables.
constexpr std::int64_t kStepsBefore = 3;

/// Relative, where the same step does not have the same bits twice.
constexpr double kTolerance = 1e-2;

/// Why no step of the experiment can be replayed; empty: it may be possible.
std::string obstacle(const Experiment& options, const ExperimentMetrics& metrics, c10::Device device,
                     const World& world) {
  if (device.is_cpu()) return "the device is the CPU";
  if (world.size() > 1) return "several processes agree on the host about each step";
  if (options.train.accumulate > 1) return text("train.accumulate = ", options.train.accumulate);
  if (options.run.precision == Precision::fp16) return "run.precision = \"fp16\" has loss scales that change";
  return metrics.why_not_replayable();
}

/// What ends a training with train.cuda_graph = "on".
std::string refusal(const std::string& reason) {
  return text("train.cuda_graph = \"on\": steps cannot be replayed: ", reason,
              ". With \"auto\" they are computed one by one instead");
}

/// The images after which every metric has its whole weight.
std::int64_t end_of_warmup(const Experiment& options) {
  std::int64_t end = 0;
  for (const MetricOptions& metric : options.metrics) end = std::max<std::int64_t>(end, metric.warmup_images);
  return end;
}

/// Calls `work` with each tensor of the batch and that of the same name in `other`, which must have the same extras.
template <class Work>
void for_tensors(DrawnBatch& batch, const DrawnBatch& other, const Work& work) {
  using Field = Tensor TrainingBatch::*;
  for (const Field field :
       {&TrainingBatch::x0, &TrainingBatch::eps, &TrainingBatch::x_t, &TrainingBatch::t, &TrainingBatch::alpha,
        &TrainingBatch::sigma, &TrainingBatch::log_snr, &TrainingBatch::target}) {
    work(batch.batch.*field, other.batch.*field);
  }
  Condition& condition = batch.batch.condition;
  const Condition& others = other.batch.condition;
  work(condition.labels, others.labels);
  work(condition.augment, others.augment);
  for (auto& [name, extra] : condition.extras) work(extra, others.extras.at(name));
  work(batch.weight, other.weight);
}

/// What is the same for every way to compute a step.
StepRecord without_numbers(const StepRecord& record) {
  StepRecord result;
  result.step = record.step;
  result.learning_rate = record.learning_rate;
  result.learning_rates = record.learning_rates;
  result.t = record.t;
  return result;
}

bool agree(const Tensor& a, const Tensor& b, double tolerance) {
  return at::allclose(a, b, tolerance, tolerance * 1e-3, /*equal_nan=*/true);
}

/// The first of the numbers that make the gradients in which two records of a step differ; empty: none.
std::string first_difference(const StepRecord& a, const StepRecord& b, double tolerance) {
  if (a.terms != b.terms) return text("the loss terms are ", join(a.terms, ", "), " and ", join(b.terms, ", "));
  for (std::size_t i = 0; i < a.terms.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    if (a.term_weights[i] != b.term_weights[i]) return text("the weight of loss term '", a.terms[i], "' differs");
    if (!agree(a.values[row], b.values[row], tolerance)) return text("loss term '", a.terms[i], "' differs");
  }
  for (std::size_t i = 0; i < a.modules.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    if (!agree(a.grad_norms[row], b.grad_norms[row], tolerance)) {
      return text("the gradient of module ", a.modules[i], " differs");
    }
  }
  return "";
}

DrawnBatch at_the_end(DrawnBatch drawn) {
  TrainingBatch& batch = drawn.batch;
  const std::int64_t size = batch.x0.size(0);
  batch.step = std::max(batch.step, batch.total_images / size);
  batch.images_seen = std::max(batch.images_seen, batch.total_images - size);
  return drawn;
}

}  // namespace

StepGraph::StepGraph(const Experiment& options, const Model& model, const ExperimentMetrics& metrics,
                     TrainingState& state, c10::Device device, const World& world, Work work)
    : options_(options), model_(model), metrics_(metrics), state_(state), device_(device), work_(std::move(work)) {
  is_possible_ = options.train.cuda_graph != GraphMode::off;
  if (!is_possible_) return;
  const std::string reason = obstacle(options, metrics, device, world);
  if (!reason.empty() && options.train.cuda_graph == GraphMode::on) throw ConfigError(refusal(reason));
  if (!reason.empty()) refuse(reason);
  if (device.is_cpu()) remark_.clear();
  for (ModuleState& module : state.modules) {
    if (is_possible_) module.forgo_shadow();
  }
}

void StepGraph::refuse(const std::string& reason) {
  forget();
  is_possible_ = false;
  if (options_.train.cuda_graph == GraphMode::on) {
    throw Error(refusal(reason));
  }
  remark_ = text("train.cuda_graph: steps are computed one by one: ", reason);
}

void StepGraph::forget() {
  graph_.reset();
  recorded_ = {};
  inputs_ = {};
  is_proved_ = false;
  steady_steps_ = 0;
}

void StepGraph::compute(const DrawnBatch& drawn, StepRecord& record) const {
  work_.begin();
  work_.compute(drawn, record);
}

void StepGraph::run(const DrawnBatch& drawn, StepRecord& record) {
  if (graph_ && !fits(drawn)) forget();
  if (is_proved_) return replay(drawn, record);
  if (graph_) return prove(drawn, record);
  compute(drawn, record);
  const bool is_steady = is_possible_ && drawn.batch.images_seen >= end_of_warmup(options_);
  if (is_steady && ++steady_steps_ > kStepsBefore) this->record(drawn);
}

/// Handles to what a step may change beside the gradients: a network may normalise its weights before it uses them.
NamedTensors StepGraph::changing() const {
  NamedTensors result = metrics_.state();
  for (const ModuleState& module : state_.modules) {
    for (auto& weight : module.weights()) result.push_back(std::move(weight));
  }
  return result;
}

void StepGraph::record(const DrawnBatch& drawn) {
  inputs_.drawn = drawn;
  for_tensors(inputs_.drawn, drawn, [](Tensor& own, const Tensor& given) {
    if (given.defined()) own = given.clone();
  });
  std::vector<Recording::Seeds> seeds;
  for (const NamedModule& module : model_.modules) {
    const std::vector<std::uint64_t> on_host = drawn.batch.condition_for(module.name).dropout.seeds;
    const std::vector<std::int64_t> numbers(on_host.begin(), on_host.end());
    inputs_.seeds.push_back(to_device(at::tensor(numbers, at::kLong), device_));
    seeds.push_back({on_host, inputs_.seeds.back()});
  }
  is_reached_.clear();
  for (const ModuleState& module : state_.modules) is_reached_.push_back(module.has_gradient());
  try {
    const TensorMemory memory([this] { return changing(); });
    recorded_ = {};
    const NamedTensors before = changing();
    graph_ = record_graph(device_, [&] {
      const Recording recording(std::move(seeds));
      work_.compute(inputs_.drawn, recorded_);
    });
    const NamedTensors after = changing();
    for (std::size_t i = 0; i < before.size(); ++i) {
      if (before[i].second.data_ptr() == after[i].second.data_ptr()) continue;
      throw Error(text(before[i].first, " is replaced by another tensor in a step; a replay would change the old one"));
    }
  } catch (const std::exception& error) {
    refuse(exception_message(error));
  }
}

bool StepGraph::fits(const DrawnBatch& drawn) const {
  bool is_alike = drawn.batch.condition.extras.size() == inputs_.drawn.batch.condition.extras.size();
  DrawnBatch own = inputs_.drawn;
  for_tensors(own, drawn, [&](const Tensor& mine, const Tensor& given) {
    is_alike = is_alike && mine.defined() == given.defined() &&
               (!given.defined() || (mine.sizes() == given.sizes() && mine.scalar_type() == given.scalar_type()));
  });
  return is_alike;
}

void StepGraph::replay(const DrawnBatch& drawn, StepRecord& record) {
  const at::NoGradGuard no_grad;
  for_tensors(inputs_.drawn, drawn, [](const Tensor& own, const Tensor& given) {
    if (given.defined()) own.copy_(given);
  });
  for (std::size_t i = 0; i < model_.modules.size(); ++i) {
    const std::vector<std::uint64_t> seeds = drawn.batch.condition_for(model_.modules[i].name).dropout.seeds;
    const std::vector<std::int64_t> numbers(seeds.begin(), seeds.end());
    inputs_.seeds[i].copy_(to_device(at::tensor(numbers, at::kLong), device_));
  }
  work_.begin();
  graph_->replay();
  for (std::size_t i = 0; i < state_.modules.size(); ++i) {
    if (is_reached_[i]) state_.modules[i].note_gradient();
  }
  StepRecord own = without_numbers(record);
  record = recorded_;
  record.step = own.step;
  record.learning_rate = own.learning_rate;
  record.learning_rates = std::move(own.learning_rates);
  record.t = own.t;
}

void StepGraph::prove(const DrawnBatch& drawn, StepRecord& record) {
  std::string found;
  try {
    found = difference(drawn, record);
  } catch (const std::exception& error) {
    if (!is_out_of_memory(error)) throw;
    refuse("there is no memory for a recorded step beside those that it is compared with");
    record = without_numbers(record);
    return compute(drawn, record);
  }
  if (!found.empty()) return refuse(found);
  is_proved_ = true;
  remark_ = text("train.cuda_graph: from step ", record.step + 1, " on steps are replays of one that was recorded");
}

/// Computes the step, and says in what its replay differs; empty: in nothing.
std::string StepGraph::difference(const DrawnBatch& drawn, StepRecord& record) {
  const auto numbers = [&](const auto& compute_step) {
    const TensorMemory memory([this] { return changing(); });
    StepRecord result = without_numbers(record);
    compute_step(result);
    result.fetch();
    return result;
  };
  const StepRecord replayed = numbers([&](StepRecord& result) { replay(drawn, result); });
  const StepRecord last = numbers([&](StepRecord& result) {
    const Silence silence;  // a component may say what holds there
    compute(at_the_end(drawn), result);
  });
  compute(drawn, record);
  StepRecord own = record;
  own.fetch();
  const double tolerance = options_.run.deterministic ? 0 : kTolerance;
  const std::string now = first_difference(replayed, own, tolerance);
  if (!now.empty()) return text("if a step is replayed, ", now);
  const std::string then = first_difference(own, last, tolerance);
  return then.empty() ? "" : text("the step depends on how far the training is: at its end ", then);
}

}  // namespace casdm
