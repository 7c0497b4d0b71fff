#include <ATen/ATen.h>

#include <algorithm>
#include <set>

#include "casdm/cascade_head.h"
#include "casdm/metric_loss.h"
#include "casdm/random.h"
#include "casdm/text.h"
#include "framework/conformance/conformance.h"

namespace casdm::conformance {

namespace {

std::shared_ptr<Backbone> backbone(const Subject& subject, std::int64_t in = kChannels, std::int64_t out = kChannels,
                                   std::int64_t classes = 0) {
  return subject.make<Backbone>({in, out, kImageSize, classes, subject.seed()});
}

/// Fills every parameter with small noise, so that zero-initialised layers pass gradients on.
void perturb(const Module& module, std::uint64_t seed) {
  at::NoGradGuard no_grad;
  at::Generator generator = make_generator(derive_seed(seed, "perturbation"));
  for (auto& [name, parameter] : module.parameters()) {
    Tensor(parameter).add_(at::empty_like(parameter).normal_(0, 0.05, generator));
  }
}

Tensor times(std::int64_t batch = kBatch) { return at::arange(batch, at::kFloat) * 7 + 3; }

Condition with_dropout(std::uint64_t seed) {
  Condition condition;
  condition.dropout = make_generator(seed);
  return condition;
}

void keeps_the_shape_contract(const Subject& subject) {
  for (const auto& [in, out] : {std::pair<std::int64_t, std::int64_t>{3, 3}, {3, 7}, {6, 4}}) {
    const auto network = backbone(subject, in, out);
    for (const std::int64_t batch : {std::int64_t{1}, std::int64_t{3}}) {
      const Tensor x = images(1, kImageSize, batch).repeat({1, (in + 2) / 3, 1, 1}).narrow(1, 0, in);
      const Tensor y = network->forward(x, times(batch), {});
      const std::vector<std::int64_t> expected = {batch, out, kImageSize, kImageSize};
      require(y.sizes() == at::IntArrayRef(expected),
              text("in ", in, ", out ", out, ": it returned ", y.sizes(), ", expected ", at::IntArrayRef(expected)));
      require(y.scalar_type() == x.scalar_type(), "the output has another dtype than x");
      require(y.isfinite().all().item<bool>(), "the output is not finite");
    }
  }
}

void gives_every_parameter_a_gradient(const Subject& subject) {
  const auto network = backbone(subject);
  perturb(*network, subject.seed());
  const Tensor x = images(1).requires_grad_(true);
  network->forward(x, times(), with_dropout(1)).square().sum().backward();
  require(x.grad().defined() && x.grad().abs().sum().item<double>() > 0, "x receives no gradient");
  for (const auto& [name, parameter] : network->parameters()) {
    require(parameter.grad().defined() && parameter.grad().abs().sum().item<double>() > 0,
            text("parameter ", name, " receives no gradient"));
    require(parameter.grad().isfinite().all().item<bool>(), text("the gradient of ", name, " is not finite"));
  }
}

void draws_only_from_what_it_is_given(const Subject& subject) {
  const auto network = backbone(subject);
  perturb(*network, subject.seed());
  at::NoGradGuard no_grad;
  const Tensor x = images(1);
  const Tensor state = at::globalContext().defaultGenerator(c10::Device(c10::kCPU)).get_state().clone();
  const Tensor first = network->forward(x, times(), with_dropout(1));
  require(at::equal(first, network->forward(x, times(), with_dropout(1))),
          "in training mode one dropout seed gives two outputs");
  network->train(false);
  const Tensor evaluated = network->forward(x, times(), {});
  require(at::equal(evaluated, network->forward(x, times(), with_dropout(2))),
          "in evaluation mode the dropout seed changes the output");
  require(at::equal(state, at::globalContext().defaultGenerator(c10::Device(c10::kCPU)).get_state()),
          "it drew from the global random generator");
}

void depends_on_time_and_labels(const Subject& subject) {
  const auto network = backbone(subject, kChannels, kChannels, 5);
  perturb(*network, subject.seed());
  network->train(false);
  at::NoGradGuard no_grad;
  Condition a;
  a.labels = at::zeros({kBatch}, at::kLong);
  Condition b;
  b.labels = at::full({kBatch}, 4, at::kLong);
  const Tensor x = images(1);
  const Tensor y = network->forward(x, times(), a);
  require(!at::equal(y, network->forward(x, times() + 20, a)), "the output does not depend on t");
  require(!at::equal(y, network->forward(x, times(), b)),
          "with num_classes = 5 the output does not depend on the label");
}

void is_told_of_augmentations(const Subject& subject) {
  Backbone::Spec spec{kChannels, kChannels, kImageSize, 0, subject.seed()};
  spec.augment_size = 9;
  const auto network = subject.make<Backbone>(spec);
  perturb(*network, subject.seed());
  network->train(false);
  at::NoGradGuard no_grad;
  const Tensor x = images(1);
  const auto output = [&](const Tensor& augment) {
    Condition condition;
    condition.augment = augment;
    return network->forward(x, times(), condition);
  };
  const Tensor plain = output({});
  require((output(at::zeros({kBatch, 9})) - plain).abs().max().item<double>() <= 1e-5,
          "augmentation labels of zero give another output than none");
  require(!at::equal(output(at::ones({kBatch, 9})), plain),
          "with augment_size = 9 the output does not depend on the augmentation labels");
}

void treats_images_alone(const Subject& subject) {
  const auto network = backbone(subject);
  perturb(*network, subject.seed());
  network->train(false);
  at::NoGradGuard no_grad;
  const Tensor x = images(1, kImageSize, 3);
  const Tensor together = network->forward(x, times(3), {});
  const Tensor alone = network->forward(x.narrow(0, 1, 1), times(3).narrow(0, 1, 1), {});
  const double difference = (together.narrow(0, 1, 1) - alone).abs().max().item<double>();
  require(difference <= 1e-4 * std::max(1.0, together.abs().max().item<double>()),
          text("an image alone and in a batch differ by ", number(difference)));
}

std::shared_ptr<CascadeHead> head(const Subject& subject) {
  return std::static_pointer_cast<CascadeHead>(subject.make_default());
}

TrainingBatch batch(const Subject& subject) {
  const auto schedule = stand_in_schedule();
  at::Generator generator = make_generator(derive_seed(subject.seed(), "head batch"));
  TrainingBatch result;
  result.x0 = images(1);
  result.t = at::arange(kBatch, at::kLong) * 30 + 20;
  result.eps = at::empty_like(result.x0).normal_(0, 1, generator);
  result.x_t = schedule->q_sample(result.x0, result.t, result.eps);
  result.dropout = [](std::string_view module) { return make_generator(derive_seed(1, module)); };
  return result;
}

/// One L1-like metric.
class OneMetric final : public MetricTerms {
 public:
  std::vector<LossTerm> evaluate(const Tensor& prediction, const TrainingBatch& batch,
                                 const std::string& module) const override {
    return {{"metric.conformance", (prediction - batch.x0).abs().mean({1, 2, 3}), 0.1, module}};
  }
};

void estimates_every_image(const Subject& subject) {
  const auto model = head(subject);
  at::NoGradGuard no_grad;
  const TrainingBatch input = batch(subject);
  for (const Tensor& t : {input.t, input.t.to(at::kFloat), input.t.to(at::kFloat) - 0.5}) {
    const Estimate estimate = model->estimate(input.x_t, t, {});
    require(estimate.x0_from_eps.defined() || estimate.x0.defined(), "the estimate holds no clean image");
    for (const auto& [name, tensor] : {std::pair<const char*, Tensor>{"eps", estimate.eps},
                                       {"x0_from_eps", estimate.x0_from_eps},
                                       {"x0", estimate.x0},
                                       {"variance", estimate.variance}}) {
      if (!tensor.defined()) continue;
      require(tensor.sizes() == input.x_t.sizes(),
              text(name, " has shape ", tensor.sizes(), ", expected ", input.x_t.sizes()));
      require(tensor.isfinite().all().item<bool>(), text(name, " is not finite"));
    }
    if (estimate.gate.defined()) {
      require(at::broadcast_tensors({estimate.gate, input.x_t})[0].sizes() == input.x_t.sizes(),
              "the gate does not broadcast to the image");
    }
  }
}

void routes_losses_to_its_modules(const Subject& subject) {
  const auto model = head(subject);
  const std::vector<NamedModule> modules = model->modules();
  require(!modules.empty(), "the head has no module");
  std::set<std::string> names;
  for (const NamedModule& module : modules) {
    require(names.insert(module.name).second, text("two modules are named '", module.name, "'"));
    perturb(*module.module, derive_seed(subject.seed(), module.name));
  }
  const Losses losses = model->losses(batch(subject), OneMetric());
  require(!losses.terms.empty(), "the head returned no loss term");
  bool has_metric = false;
  for (const LossTerm& term : losses.terms) {
    require(names.contains(term.module),
            text("term '", term.name, "' names the module '", term.module, "', which the head lacks"));
    require(term.value.dim() == 1 && term.value.size(0) == kBatch,
            text("term '", term.name, "' has shape ", term.value.sizes(), ", expected [", kBatch, "]"));
    require(term.value.isfinite().all().item<bool>(), text("term '", term.name, "' is not finite"));
    has_metric = has_metric || term.name == "metric.conformance";
  }
  require(has_metric, "the metric terms it was given are not among its losses");
  if (!model->gradients_are_separate()) return;
  for (const LossTerm& term : losses.terms) {
    if (!term.value.requires_grad()) continue;
    for (const NamedModule& module : modules) {
      for (auto& [name, parameter] : module.module->parameters()) Tensor(parameter).mutable_grad().reset();
    }
    term.value.sum().backward({}, /*retain_graph=*/true);
    for (const NamedModule& module : modules) {
      if (module.name == term.module) continue;
      for (const auto& [name, parameter] : module.module->parameters()) {
        require(
            !parameter.grad().defined() || parameter.grad().abs().sum().item<double>() == 0,
            text("term '", term.name, "' trains ", term.module, " but sends a gradient to ", module.name, ".", name));
      }
    }
  }
}

void trains_every_module(const Subject& subject) {
  const auto model = head(subject);
  for (const NamedModule& module : model->modules()) perturb(*module.module, derive_seed(subject.seed(), module.name));
  Tensor total;
  for (const LossTerm& term : model->losses(batch(subject), OneMetric()).terms) {
    if (!term.value.requires_grad()) continue;
    total = total.defined() ? total + term.weight * term.value.mean() : term.weight * term.value.mean();
  }
  require(total.defined(), "no loss term has a gradient");
  total.backward();
  for (const NamedModule& module : model->modules()) {
    if (!module.is_trainable) continue;
    for (const auto& [name, parameter] : module.module->parameters()) {
      require(parameter.grad().defined() && parameter.grad().isfinite().all().item<bool>(),
              text("parameter ", module.name, ".", name, " receives no finite gradient"));
    }
  }
}

void tells_its_networks_of_augmentations(const Subject& subject) {
  CascadeHead::Spec spec{kChannels, kImageSize, 0, stand_in_schedule(), &subject.factory(), subject.seed()};
  spec.augment_size = 3;
  const auto model = subject.make<CascadeHead>(spec);
  TrainingBatch input = batch(subject);
  input.augment = at::ones({kBatch, 3});
  for (const LossTerm& term : model->losses(input, OneMetric()).terms) {
    if (term.value.requires_grad()) term.value.sum().backward({}, /*retain_graph=*/true);
  }
  for (const NamedModule& module : model->modules()) {
    for (const auto& [name, parameter] : module.module->parameters()) {
      if (name != kAugmentWeight || !module.is_trainable) continue;
      require(parameter.grad().defined() && parameter.grad().abs().sum().item<double>() > 0,
              text("the network '", module.name, "' is not given the batch's augmentation labels"));
    }
    const NamedTensors own = state(*module.module);
    const bool is_backbone =
        std::any_of(own.begin(), own.end(), [](const auto& p) { return p.first == "first.weight"; });
    const bool is_told = std::any_of(own.begin(), own.end(), [](const auto& p) { return p.first == kAugmentWeight; });
    require(is_told || !is_backbone, text("the network '", module.name, "' was made without the head's augment_size"));
  }
}

void names_its_modules_alike(const Subject& subject) {
  const auto a = head(subject)->modules();
  const auto b = head(subject)->modules();
  require(a.size() == b.size(), "two instances have different numbers of modules");
  for (std::size_t i = 0; i < a.size(); ++i) {
    const NamedTensors ours = state(*a[i].module);
    const NamedTensors theirs = state(*b[i].module);
    require(a[i].name == b[i].name && ours.size() == theirs.size(), "module names or sizes differ between instances");
    for (std::size_t k = 0; k < ours.size(); ++k) {
      require(ours[k].first == theirs[k].first,
              text("state names differ between instances: ", ours[k].first, " and ", theirs[k].first));
    }
  }
}

}  // namespace

std::vector<Test> network_tests() {
  const auto network = Backbone::kind;
  const auto model = CascadeHead::kind;
  return {{network, "keeps_the_shape_contract", false, keeps_the_shape_contract},
          {network, "gives_every_parameter_a_gradient", false, gives_every_parameter_a_gradient},
          {network, "draws_only_from_what_it_is_given", false, draws_only_from_what_it_is_given},
          {network, "depends_on_time_and_labels", false, depends_on_time_and_labels},
          {network, "is_told_of_augmentations", false, is_told_of_augmentations},
          {network, "treats_images_alone", false, treats_images_alone},
          {model, "estimates_every_image", false, estimates_every_image},
          {model, "routes_losses_to_its_modules", false, routes_losses_to_its_modules},
          {model, "trains_every_module", false, trains_every_module},
          {model, "tells_its_networks_of_augmentations", false, tells_its_networks_of_augmentations},
          {model, "names_its_modules_alike", false, names_its_modules_alike}};
}

}  // namespace casdm::conformance
