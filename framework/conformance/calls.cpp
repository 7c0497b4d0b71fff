#include "framework/conformance/calls.h"

#include <ATen/ATen.h>

#include "casdm/augmentation.h"
#include "casdm/dataset.h"
#include "casdm/metric_loss.h"
#include "casdm/random.h"
#include "casdm/sampler.h"
#include "casdm/timestep_sampler.h"
#include "framework/conformance/suites.h"

namespace casdm::conformance {

void call_backbone(Caller& caller) {
  auto network = caller.make<Backbone>({kImage, kChannels, {}, caller.subject.seed()});
  caller.read_state(*network);
  caller.place(*network);
  caller.run("train", [&] { network->train(true); });
  const Tensor x = caller.placed(images(1)).requires_grad_(true);
  const Tensor t = caller.placed(at::arange(kBatch, at::kFloat) * 7 + 3);
  Condition condition;
  for (std::int64_t i = 0; i < kBatch; ++i) condition.dropout.seeds.push_back(static_cast<std::uint64_t>(i));
  Tensor y;
  caller.run("forward", [&] { y = network->forward(x, t, condition); });
  caller.keep(y);
  caller.run("the backward of forward", [&] { y.square().sum().backward(); });
  caller.keep(x.grad());
  caller.run("train", [&] { network->train(false); });
  const at::NoGradGuard no_grad;
  caller.run("forward", [&] { y = network->forward(x, t, {}); });
  caller.keep(y);
  caller.destroy(network);
}

void call_head(Caller& caller) {
  const Subject& subject = caller.subject;
  auto head = caller.make<CascadeHead>({kImage, {}, stand_in_schedule(), &subject.factory(), subject.seed()});
  std::vector<NamedModule> modules;
  caller.run("modules", [&] { modules = head->modules(); });
  for (const NamedModule& module : modules) caller.place(*module.module);
  caller.run("gradients_are_separate", [&] { head->gradients_are_separate(); });
  const TrainingBatch batch = training_batch(subject.seed(), caller.device);
  Tensor total;
  caller.run("losses", [&] {
    for (const LossTerm& term : head->losses(batch, OneMetric()).terms) {
      caller.keep(term.value);
      if (!term.value.requires_grad()) continue;
      total = total.defined() ? total + term.value.sum() : term.value.sum();
    }
  });
  if (total.defined()) caller.run("the backward of losses", [&] { total.backward(); });
  const at::NoGradGuard no_grad;
  caller.run("estimate", [&] {
    const Estimate estimate = head->estimate({batch.x_t, batch.t, {}, {}});
    for (const Tensor& tensor : {estimate.eps, estimate.x0_from_eps, estimate.x0, estimate.gate, estimate.variance}) {
      caller.keep(tensor);
    }
  });
  caller.destroy(head);
}

void call_metric(Caller& caller) {
  std::int64_t size = kImageSize;
  auto metric = caller.make<MetricLoss>({ImageShape::square(kChannels, size), &caller.subject.factory()});
  caller.run("info", [&] { size = std::max(size, metric->info().minimum_size); });
  if (size > kImageSize)
    metric = caller.make<MetricLoss>({ImageShape::square(kChannels, size), &caller.subject.factory()});
  caller.read_state(*metric);
  caller.place(*metric);
  caller.run("train", [&] { metric->train(false); });
  const Tensor prediction = caller.placed(images(1, size)).requires_grad_(true);
  const Tensor real = caller.placed(images(2, size));
  std::vector<Tensor> target;
  {
    const at::NoGradGuard no_grad;
    caller.run("prepare", [&] { target = metric->prepare(real); });
  }
  Tensor value;
  caller.run("distance", [&] { value = metric->distance_in(prediction, target, {}); });
  caller.keep(value);
  if (value.requires_grad()) caller.run("the backward of distance", [&] { value.sum().backward(); });
  caller.keep(prediction.grad());
  caller.destroy(metric);
}

void call_noise(Caller& caller) {
  auto schedule = caller.make<NoiseScheduler>({});
  TimeRange times;
  caller.run("range", [&] { times = schedule->range(); });
  const Tensor t = at::linspace(times.first, times.last, 7, at::kDouble);
  caller.run("alpha", [&] { caller.keep(schedule->alpha(t)); });
  caller.run("sigma", [&] { caller.keep(schedule->sigma(t)); });
  caller.run("time_at", [&] { caller.keep(schedule->time_at(schedule->log_snr(t))); });
  caller.run("network_time", [&] { caller.keep(schedule->network_time(t)); });
  caller.destroy(schedule);
}

void call_sampler(Caller& caller) {
  const at::NoGradGuard no_grad;
  auto sampler = caller.make<Sampler>({stand_in_schedule(), kImage});
  std::vector<SampleStep> plan;
  double scale = 1;
  caller.run("plan", [&] { plan = sampler->plan(); });
  caller.run("initial_scale", [&] { scale = sampler->initial_scale(); });
  caller.run("start", [&] { sampler->start(); });
  const Tensor clean = caller.placed(images(3) * 0.9);
  Tensor x = caller.placed(images(4) * scale);
  for (std::size_t i = 0; i < plan.size(); ++i) {
    Tensor input;
    caller.run("model_input", [&] { input = sampler->model_input(x, i); });
    StepInput step;
    step.index = i;
    step.x_t = x;
    step.level = stand_in_schedule()->level(plan[i].t);
    step.next_level = stand_in_schedule()->level(plan[i].t_next);
    step.estimate.eps =
        stand_in_schedule()->predict_eps_from_x0(input, at::full({clean.size(0)}, plan[i].t, clean.options()), clean);
    step.estimate.x0_from_eps = clean;
    if (plan[i].needs_noise) step.noise = caller.placed(images(5 + i));
    caller.run("step", [&] { x = sampler->step(step); });
  }
  caller.keep(x);
  caller.destroy(sampler);
}

void call_dataset(Caller& caller) {
  auto data = caller.make<Dataset>({kImage});
  std::int64_t size = 0;
  caller.run("size", [&] { size = data->size(); });
  caller.run("num_classes", [&] { data->num_classes(); });
  caller.run("left_out", [&] { data->left_out(); });
  caller.run("extras", [&] { data->extras(); });
  for (const std::int64_t index : {std::int64_t{0}, size / 2, size - 1}) {
    caller.run("describe", [&] { data->describe(index); });
    caller.run("get", [&] {
      const Example example = data->get(index);
      caller.keep(at::tensor(example.image.pixels));
    });
  }
  caller.destroy(data);
}

void call_timesteps(Caller& caller) {
  const at::NoGradGuard no_grad;
  auto sampler = caller.make<TimestepSampler>({stand_in_schedule()});
  caller.read_state(*sampler);
  for (int round = 0; round < 3; ++round) {
    TimestepDraw draw;
    caller.run("draw", [&] { draw = sampler->draw({0.1, 0.4, 0.9}); });
    caller.keep(at::tensor(draw.t));
    caller.keep(at::tensor(draw.weight));
    const Tensor t = at::tensor(draw.t, at::kDouble);
    caller.run("observe", [&] { sampler->observe(t, {{"eps", t.to(at::kFloat) + 1, 1.0, "network"}}); });
  }
  caller.destroy(sampler);
}

void call_augmentation(Caller& caller) {
  const at::NoGradGuard no_grad;
  auto augmentation = caller.make<Augmentation>({kImage});
  caller.run("label_size", [&] { augmentation->label_size(); });
  const Tensor x = caller.placed(images(1));
  Augmented result;
  caller.run("apply", [&] { result = augmentation->apply(x, {1, 2}); });
  caller.keep(result.images);
  caller.keep(result.labels);
  caller.destroy(augmentation);
}

std::vector<Tensor> make_every_call(const Subject& subject, const CallRunner& run, bool keeps_spec,
                                    c10::Device device) {
  Caller caller{subject, run, keeps_spec, device};
  if (const Suite* suite = find_suite(subject.entry().kind)) suite->call(caller);
  return std::move(caller.results);
}

}  // namespace casdm::conformance
