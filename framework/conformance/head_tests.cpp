#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>

#include <algorithm>
#include <set>

#include "casdm/cascade_head.h"
#include "casdm/random.h"
#include "casdm/safetensors.h"
#include "casdm/text.h"
#include "framework/conformance/suites.h"

namespace casdm::conformance::heads {

namespace {

constexpr std::int64_t kClasses = 5;
constexpr std::int64_t kAugmentSize = 3;

std::shared_ptr<CascadeHead> head(const Subject& subject) {
  return std::static_pointer_cast<CascadeHead>(subject.make_default());
}

/// A head with perturbed networks, so that zero-initialised layers have an effect.
std::shared_ptr<CascadeHead> perturbed_head(const Subject& subject) {
  const auto model = head(subject);
  for (const NamedModule& module : model->modules()) perturb(*module.module, derive_seed(subject.seed(), module.name));
  return model;
}

std::vector<std::pair<const char*, Tensor>> parts_of(const Estimate& estimate) {
  std::vector<std::pair<const char*, Tensor>> parts;
  for (const auto& [name, tensor] : {std::pair<const char*, Tensor>{"eps", estimate.eps},
                                     {"x0_from_eps", estimate.x0_from_eps},
                                     {"x0", estimate.x0},
                                     {"gate", estimate.gate},
                                     {"variance", estimate.variance}}) {
    if (tensor.defined()) parts.emplace_back(name, tensor);
  }
  return parts;
}

/// int64, floating whole numbers, and values between timesteps.
std::vector<Tensor> kinds_of_t(const TrainingBatch& batch) {
  return {batch.t, batch.t.to(at::kFloat), batch.t.to(at::kFloat) - 0.5};
}

void estimates_every_image(const Subject& subject) {
  const auto model = head(subject);
  const at::NoGradGuard no_grad;
  const TrainingBatch batch = training_batch(subject.seed());
  const Tensor before = batch.x_t.clone();
  for (const Tensor& t : kinds_of_t(batch)) {
    const Estimate estimate = model->estimate({batch.x_t, t, {}, {}});
    require(estimate.x0_from_eps.defined() || estimate.x0.defined(), "the estimate holds no clean image");
    require(!estimate.gate.defined() || estimate.x0.defined(), "it has a gate, but no x0 for the gate to weigh");
    for (const auto& [name, tensor] : parts_of(estimate)) {
      require(tensor.isfinite().all().item<bool>(), text(name, " is not finite"));
      if (std::string_view(name) == "gate") continue;
      require(tensor.sizes() == batch.x_t.sizes(),
              text(name, " has shape ", tensor.sizes(), ", expected ", batch.x_t.sizes()));
    }
    if (estimate.gate.defined()) {
      const auto broadcast = at::infer_size(estimate.gate.sizes(), batch.x_t.sizes());
      require(at::IntArrayRef(broadcast) == batch.x_t.sizes(), "the gate does not broadcast to the image");
    }
  }
  require(at::equal(before, batch.x_t), "it changed the images it was given");
}

/// eps and x0* state the same thing: x_t = sqrt(A_t) x0* + sqrt(1-A_t) eps.
void eps_and_x0_imply_each_other(const Subject& subject) {
  const auto model = perturbed_head(subject);
  const at::NoGradGuard no_grad;
  const TrainingBatch batch = training_batch(subject.seed());
  for (const Tensor& t : kinds_of_t(batch)) {
    const Estimate estimate = model->estimate({batch.x_t, t, {}, {}});
    if (!estimate.eps.defined() || !estimate.x0_from_eps.defined())
      throw Skip("it has only one of eps and x0_from_eps");
    const Tensor rebuilt = stand_in_schedule()->q_sample(estimate.x0_from_eps, t, estimate.eps);
    const double scale =
        std::max({1.0, estimate.eps.abs().max().item<double>(), estimate.x0_from_eps.abs().max().item<double>()});
    const double difference = (rebuilt - batch.x_t).abs().max().item<double>();
    require(
        difference <= 1e-4 * scale,
        text("at t = ", number(t[0].item<double>()), " sqrt(A_t) x0_from_eps + sqrt(1-A_t) eps differs from x_t by ",
             number(difference), "; take one from the other by predict_x0_from_eps or predict_eps_from_x0"));
  }
}

/// Networks that return bf16, as under autocast.
void keeps_the_precision_of_the_images(const Subject& subject) {
  const auto model = perturbed_head(subject);
  const TrainingBatch batch = training_batch(subject.seed());
  const auto require_float = [](const std::string& name, const Tensor& tensor) {
    require(tensor.scalar_type() == at::kFloat,
            text(name, " is ", at::toString(tensor.scalar_type()),
                 " under bf16 autocast; convert what the networks answer to the type of x_t"));
  };
  at::autocast::set_autocast_enabled(at::kCPU, true);
  for (const auto& [name, tensor] : parts_of(model->estimate({batch.x_t, batch.t, {}, {}})))
    require_float(name, tensor);
  for (const LossTerm& term : model->losses(batch, OneMetric()).terms) {
    require_float(text("term '", term.name, "'"), term.value);
  }
  at::autocast::set_autocast_enabled(at::kCPU, false);
}

void require_sound_terms(const Losses& losses, const std::set<std::string>& modules) {
  require(!losses.terms.empty(), "the head returned no loss term");
  std::set<std::string> names;
  bool has_metric = false;
  for (const LossTerm& term : losses.terms) {
    require(!term.name.empty(), "a loss term has no name");
    require(names.insert(term.name).second,
            text("two loss terms are named '", term.name, "'; one of them would be lost in the record"));
    require(modules.contains(term.module),
            text("term '", term.name, "' names the module '", term.module, "', which the head lacks"));
    require(term.value.defined() && term.value.dim() == 1 && term.value.size(0) == kBatch,
            text("term '", term.name, "' has shape ", term.value.sizes(), ", expected [", kBatch, "]"));
    require(term.value.isfinite().all().item<bool>(), text("term '", term.name, "' is not finite"));
    if (term.name != OneMetric::kName) continue;
    has_metric = true;
    require(term.weight == OneMetric::kWeight,
            text("it changed the weight of a metric's term from ", number(OneMetric::kWeight), " to ",
                 number(term.weight), "; weights of metrics are the user's"));
  }
  require(has_metric, "the metric terms it was given are not among its losses");
  for (const Statistic& statistic : losses.statistics) {
    require(names.insert(statistic.name).second,
            text("two records are named '", statistic.name, "', terms and statistics together"));
    require(statistic.value.dim() == 1 && statistic.value.size(0) == kBatch,
            text("statistic '", statistic.name, "' has shape ", statistic.value.sizes(), ", expected [", kBatch, "]"));
    require(!statistic.value.requires_grad(), text("statistic '", statistic.name, "' has a gradient; detach it"));
  }
}

void clear_gradients(const std::vector<NamedModule>& modules) {
  for (const NamedModule& module : modules) {
    for (const auto& [name, parameter] : module.module->parameters()) Tensor(parameter).mutable_grad().reset();
  }
}

void routes_losses_to_its_modules(const Subject& subject) {
  const auto model = perturbed_head(subject);
  const std::vector<NamedModule> modules = model->modules();
  require(!modules.empty(), "the head has no module");
  std::set<std::string> names;
  for (const NamedModule& module : modules) {
    require(names.insert(module.name).second, text("two modules are named '", module.name, "'"));
  }
  const Losses losses = model->losses(training_batch(subject.seed()), OneMetric());
  require_sound_terms(losses, names);
  if (!model->gradients_are_separate()) return;
  for (const LossTerm& term : losses.terms) {
    if (!term.value.requires_grad()) continue;
    clear_gradients(modules);
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
  const auto model = perturbed_head(subject);
  Tensor total;
  for (const LossTerm& term : model->losses(training_batch(subject.seed()), OneMetric()).terms) {
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

CascadeHead::Spec conditional_spec(const Subject& subject) {
  CascadeHead::Spec spec{kImage, {.num_classes = kClasses}, stand_in_schedule(), &subject.factory(), subject.seed()};
  spec.condition.augment_size = kAugmentSize;
  return spec;
}

bool same(const Tensor& a, const Tensor& b) { return a.defined() && a.sizes() == b.sizes() && at::equal(a, b); }

/// The module whose seed `network` was given; null if its seed is not derived from a module's name.
const NamedModule* module_of(const StandInBackbone& network, const std::vector<NamedModule>& modules,
                             std::uint64_t seed) {
  const auto found = std::find_if(modules.begin(), modules.end(), [&](const NamedModule& module) {
    return network.spec().seed == derive_seed(seed, module.name);
  });
  return found == modules.end() ? nullptr : &*found;
}

void gives_its_networks_their_conditions(const Subject& subject) {
  const auto model = subject.make<CascadeHead>(conditional_spec(subject));
  const std::vector<NamedModule> modules = model->modules();
  const auto& networks = subject.factory().backbones();
  TrainingBatch batch = training_batch(subject.seed());
  batch.condition.labels = at::tensor({kClasses - 1, std::int64_t{2}});
  batch.condition.augment = at::ones({kBatch, kAugmentSize});
  model->losses(batch, OneMetric());
  std::vector<std::size_t> calls;
  for (const auto& network : networks) {
    const NamedModule* module = module_of(*network, modules, subject.seed());
    for (const Condition& condition : network->conditions()) {
      require(same(condition.labels, batch.condition.labels), "in losses a network is not given the batch's labels");
      require(same(condition.augment, batch.condition.augment),
              "a network is not given the batch's augmentation labels");
      require(!condition.dropout.seeds.empty() || module == nullptr || !module->is_trainable,
              "in losses a network is not given its dropout: use batch.condition_for(name)");
    }
    calls.push_back(network->conditions().size());
  }
  const at::NoGradGuard no_grad;
  model->estimate({batch.x_t, batch.t, {}, {.labels = batch.condition.labels}});
  for (std::size_t i = 0; i < networks.size(); ++i) {
    for (std::size_t k = calls[i]; k < networks[i]->conditions().size(); ++k) {
      const Condition& condition = networks[i]->conditions()[k];
      require(same(condition.labels, batch.condition.labels), "in estimate a network is not given the labels");
      require(!condition.augment.defined() || !condition.augment.any().item<bool>(),
              "in estimate a network is given augmentation labels that are not zero");
    }
  }
}

void makes_its_networks_by_its_spec(const Subject& subject) {
  const auto model = subject.make<CascadeHead>(conditional_spec(subject));
  std::set<std::uint64_t> seeds;
  for (const auto& network : subject.factory().backbones()) {
    const Backbone::Spec& spec = network->spec();
    require(spec.condition.num_classes == kClasses, "a network was made without the head's num_classes");
    require(spec.condition.augment_size == kAugmentSize, "a network was made without the head's augment_size");
    require(spec.image.height == kImageSize,
            text("a network was made for ", spec.image.height, " px, not ", kImageSize));
    require(seeds.insert(spec.seed).second, "two networks were made with one seed, so they start alike");
    require(module_of(*network, model->modules(), subject.seed()) != nullptr,
            "a network's seed is not derive_seed(spec.seed, name of a module), so it would start otherwise in a head "
            "with other modules");
  }
}

void names_its_modules_alike(const Subject& subject) {
  const auto model = head(subject);
  const auto again = model->modules();
  const auto a = model->modules();
  const auto b = head(subject)->modules();
  require(a.size() == b.size() && a.size() == again.size(), "the number of modules differs between calls or instances");
  for (std::size_t i = 0; i < a.size(); ++i) {
    const NamedTensors ours = state(*a[i].module);
    const NamedTensors theirs = state(*b[i].module);
    require(a[i].name == again[i].name && a[i].module == again[i].module, "modules() differs from call to call");
    require(a[i].name == b[i].name && ours.size() == theirs.size(), "module names or sizes differ between instances");
    for (std::size_t k = 0; k < ours.size(); ++k) {
      require(ours[k].first == theirs[k].first,
              text("state names differ between instances: ", ours[k].first, " and ", theirs[k].first));
    }
  }
}

void repeats_itself(const Subject& subject) {
  const auto model = perturbed_head(subject);
  const at::NoGradGuard no_grad;
  const TrainingBatch batch = training_batch(subject.seed());
  const auto estimated = [&] { return model->estimate({batch.x_t, batch.t, {}, {}}); };
  const Estimate first = estimated();
  model->losses(training_batch(subject.seed() + 1), OneMetric());
  const Estimate second = estimated();
  const auto a = parts_of(first);
  const auto b = parts_of(second);
  require(a.size() == b.size(), "the estimate has other parts after another batch");
  for (std::size_t i = 0; i < a.size(); ++i) {
    require(at::equal(a[i].second, b[i].second), text("after another batch ", a[i].first, " of the same x_t differs"));
  }
}

void samples_without_what_only_trains(const Subject& subject) {
  const auto model = perturbed_head(subject);
  CascadeHead::Spec spec{kImage, {}, stand_in_schedule(), &subject.factory(), subject.seed()};
  spec.is_training = false;
  const auto sampled = subject.make<CascadeHead>(spec);
  const std::vector<NamedModule> modules = model->modules();
  for (const NamedModule& own : sampled->modules()) {
    const auto trained =
        std::find_if(modules.begin(), modules.end(), [&](const NamedModule& m) { return m.name == own.name; });
    require(trained != modules.end(), text("made for sampling it has a module that training lacks: ", own.name));
    load_state(*own.module, state(*trained->module), "the trained head");
  }
  const at::NoGradGuard no_grad;
  const TrainingBatch batch = training_batch(subject.seed());
  const auto a = parts_of(model->estimate({batch.x_t, batch.t, {}, {}}));
  const auto b = parts_of(sampled->estimate({batch.x_t, batch.t, {}, {}}));
  require(a.size() == b.size(), "made for sampling its estimate has other parts");
  for (std::size_t i = 0; i < a.size(); ++i) {
    require(at::equal(a[i].second, b[i].second),
            text("made for sampling (spec.is_training = false) ", a[i].first, " of the same x_t and weights differs"));
  }
}

using State = std::vector<NamedTensors>;

/// Copies of the weights and buffers of each module.
State state_of(const CascadeHead& head) {
  State copies;
  for (const NamedModule& module : head.modules()) {
    copies.emplace_back();
    for (const auto& [name, tensor] : state(*module.module)) copies.back().emplace_back(name, tensor.detach().clone());
  }
  return copies;
}

void set_state(const CascadeHead& head, const State& saved) {
  const std::vector<NamedModule> modules = head.modules();
  require(modules.size() == saved.size(), "the number of modules differs between calls or instances");
  for (std::size_t i = 0; i < modules.size(); ++i) load_state(*modules[i].module, saved[i], "the same head");
}

void require_same_terms(const Losses& first, const Losses& again, const std::string& when) {
  require(first.terms.size() == again.terms.size(), text(when, " the same batch has a different number of loss terms"));
  for (std::size_t i = 0; i < first.terms.size(); ++i) {
    const LossTerm &a = first.terms[i], &b = again.terms[i];
    require(a.name == b.name && a.weight == b.weight && at::equal(a.value, b.value),
            text(when, " the loss term '", a.name,
                 "' of the same batch differs: what losses remembers must be a buffer, or a resume forgets it"));
  }
}

/// With the same weights and buffers, as after a resume.
void repeats_its_losses(const Subject& subject) {
  const auto model = perturbed_head(subject);
  const at::NoGradGuard no_grad;
  const TrainingBatch batch = training_batch(subject.seed());
  const State start = state_of(*model);
  const Losses first = model->losses(batch, OneMetric());
  model->losses(training_batch(subject.seed() + 1), OneMetric());
  const State learned = state_of(*model);
  const auto other = perturbed_head(subject);
  set_state(*other, learned);
  require_same_terms(model->losses(batch, OneMetric()), other->losses(batch, OneMetric()), "in a second instance");
  set_state(*model, start);
  require_same_terms(first, model->losses(batch, OneMetric()), "after another batch");
}

CascadeHead::Spec spec_for(const Subject& subject) {
  return {kImage, {}, stand_in_schedule(), &subject.factory(), subject.seed()};
}

}  // namespace

Suite requirements() {
  const auto kind = CascadeHead::kind;
  return suite<CascadeHead, spec_for>(
      {{kind, "estimates_every_image", false, estimates_every_image},
       {kind, "eps_and_x0_imply_each_other", false, eps_and_x0_imply_each_other},
       {kind, "keeps_the_precision_of_the_images", false, keeps_the_precision_of_the_images},
       {kind, "routes_losses_to_its_modules", false, routes_losses_to_its_modules},
       {kind, "trains_every_module", false, trains_every_module},
       {kind, "makes_its_networks_by_its_spec", false, makes_its_networks_by_its_spec},
       {kind, "gives_its_networks_their_conditions", false, gives_its_networks_their_conditions},
       {kind, "samples_without_what_only_trains", false, samples_without_what_only_trains},
       {kind, "names_its_modules_alike", false, names_its_modules_alike},
       {kind, "repeats_itself", false, repeats_itself},
       {kind, "repeats_its_losses", false, repeats_its_losses}},
      call_head);
}

}  // namespace casdm::conformance::heads
