#include <ATen/ATen.h>

#include "casdm/backbone.h"
#include "casdm/random.h"
#include "casdm/text.h"
#include "framework/composition/kept_buffers.h"
#include "framework/conformance/suites.h"
#include "framework/device/device.h"

namespace casdm::conformance::backbones {

namespace {

constexpr std::int64_t kClasses = 5;

std::shared_ptr<Backbone> backbone(const Subject& subject, std::int64_t in = kChannels, std::int64_t out = kChannels,
                                   std::int64_t classes = 0) {
  return subject.make<Backbone>({ImageShape::square(in, kImageSize), out, {.num_classes = classes}, subject.seed()});
}

Tensor times(std::int64_t batch = kBatch) { return at::arange(batch, at::kFloat) * 7 + 3; }

Condition with_dropout(std::uint64_t seed) {
  Condition condition;
  for (std::int64_t i = 0; i < kBatch; ++i) condition.dropout.seeds.push_back(seed + static_cast<std::uint64_t>(i));
  return condition;
}

Condition with_labels(std::int64_t label) {
  Condition condition;
  condition.labels = at::full({kBatch}, label, at::kLong);
  return condition;
}

void require_image(const Tensor& y, const Tensor& x, std::int64_t out, const std::string& what) {
  const std::vector<std::int64_t> expected = {x.size(0), out, x.size(2), x.size(3)};
  require(y.defined(), what + "it returned an undefined tensor");
  require(y.sizes() == at::IntArrayRef(expected),
          text(what, "it returned ", y.sizes(), ", expected ", at::IntArrayRef(expected)));
  require(y.scalar_type() == x.scalar_type(),
          text(what, "it returned ", at::toString(y.scalar_type()), " for ", at::toString(x.scalar_type())));
  require(y.isfinite().all().item<bool>(), what + "the output is not finite");
}

/// The same times and conditions go to every network of a head.
void leaves_its_conditions(const Subject& subject) {
  const at::NoGradGuard no_grad;
  Backbone::Spec spec{kImage, kChannels, {}, subject.seed()};
  spec.condition.num_classes = 3;
  spec.condition.augment_size = 2;
  const auto network = subject.make<Backbone>(spec);
  const Tensor t = times();
  Condition condition = with_labels(1);
  condition.augment = at::ones({kBatch, 2});
  const Tensor before = t.clone();
  network->forward(images(1), t, condition);
  require(at::equal(t, before), "it changed the times it was given; compute with copies");
  require(condition.labels.eq(1).all().item<bool>(), "it changed the labels it was given; compute with copies");
  require(condition.augment.eq(1).all().item<bool>(), "it changed the augmentations it was given; compute with copies");
}

/// A checkpoint is restored to the state as it was made, and sampling is no training.
void keeps_its_state(const Subject& subject) {
  const at::NoGradGuard no_grad;
  const auto network = backbone(subject, kChannels, kChannels);
  const std::vector<TensorForm> made = tensor_forms(state(*network));
  const auto compare = [&](const char* call) {
    const std::vector<TensorForm> now = tensor_forms(state(*network));
    require(now.size() == made.size(), text(call, " changes the number of its tensors from ", made.size(), " to ",
                                            now.size(), "; register all in the constructor"));
    for (std::size_t i = 0; i < now.size(); ++i) {
      require(now[i] == made[i], text(call, " changes the name or shape of the tensor ", made[i].first,
                                      "; a checkpoint could not be restored to it"));
    }
  };
  network->forward(images(1), times(), {});
  compare("forward");
  std::vector<Tensor> before;
  for (const auto& [name, tensor] : state(*network)) before.push_back(tensor.clone());
  const auto require_same = [&](const char* call) {
    const NamedTensors now = state(*network);
    for (std::size_t i = 0; i < now.size(); ++i) {
      require(at::equal(now[i].second, before[i]),
              text(call, " changes ", now[i].first, "; sampling would change a run"));
    }
  };
  network->train(false);
  require_same("train(false)");
  network->forward(images(1), times(), {});
  require_same("forward in evaluation");
  network->train(true);
  require_same("train(true)");
}

void keeps_the_shape_contract(const Subject& subject) {
  const at::NoGradGuard no_grad;
  for (const auto& [in, out] : {std::pair<std::int64_t, std::int64_t>{3, 3}, {3, 7}, {6, 4}, {1, 1}}) {
    const auto network = backbone(subject, in, out);
    const std::string what = text("in ", in, ", out ", out, ": ");
    for (const std::int64_t batch : {std::int64_t{1}, std::int64_t{3}}) {
      const Tensor x = images(1, kImageSize, batch).repeat({1, (in + 2) / 3, 1, 1}).narrow(1, 0, in);
      const Tensor before = x.clone();
      require_image(network->forward(x, times(batch), {}), x, out, what);
      require_image(network->forward(x, times(batch) + 0.37, {}), x, out, what + "at a fractional t ");
      require(at::equal(x, before), "it changed the images it was given; compute with copies");
    }
  }
}

/// The identities of the heads are verified in double, with state and images in it.
void computes_in_double(const Subject& subject) {
  const auto network = backbone(subject);
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : state(*network)) {
    if (tensor.is_floating_point()) Tensor(tensor).set_data(tensor.to(at::kDouble));
  }
  const Tensor x = images(1).to(at::kDouble);
  require_image(network->forward(x, times().to(at::kDouble), {}), x, kChannels, "with state and images in double, ");
}

void hands_out_its_taps(const Subject& subject) {
  const auto network = backbone(subject);
  perturb(*network, subject.seed());
  network->train(false);
  const std::vector<TapInfo> taps = network->taps();
  std::vector<std::string> names;
  for (const TapInfo& tap : taps) names.push_back(tap.name);
  if (names.empty()) throw Skip("it has no taps");
  const Tensor x = images(1).requires_grad_(true);
  const BackboneOutput output = network->forward_with_taps(x, times(), {}, names);
  require(at::allclose(output.sample, network->forward(x, times(), {}), 1e-4, 1e-5),
          "forward_with_taps() gives another image than forward()");
  require(output.taps.size() == names.size(),
          text("asked for ", names.size(), " taps it returned ", output.taps.size()));
  for (std::size_t i = 0; i < taps.size(); ++i) {
    const auto& [name, feature] = output.taps[i];
    std::vector<std::int64_t> expected{kBatch};
    expected.insert(expected.end(), taps[i].shape.begin(), taps[i].shape.end());
    require(name == names[i], text("asked for the tap ", quoted(names[i]), " it returned ", quoted(name)));
    require(feature.defined() && feature.sizes() == at::IntArrayRef(expected),
            text("the tap ", quoted(name), " is not of the shape that taps() declares, ", at::IntArrayRef(expected)));
    require(feature.is_floating_point() && feature.isfinite().all().item<bool>(),
            text("the tap ", quoted(name), " is not finite"));
    require(feature.requires_grad(), text("no gradient flows through the tap ", quoted(name)));
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
  const at::NoGradGuard no_grad;
  const Tensor x = images(1);
  const Tensor first = network->forward(x, times(), with_dropout(1));
  require(at::equal(first, network->forward(x, times(), with_dropout(1))),
          "in training mode one dropout seed gives two outputs");
  const Tensor undropped = network->forward(x, times(), {});
  network->train(false);
  const Tensor evaluated = network->forward(x, times(), {});
  require(at::equal(undropped, evaluated),
          "in training mode without dropout seeds it gives another output than in evaluation: no seeds, "
          "no dropout, and no statistics of the batch");
  require(at::equal(evaluated, network->forward(x, times(), with_dropout(2))),
          "in evaluation mode the dropout seed changes the output");
  network->train(true);
  Condition own;
  own.dropout.seeds = {with_dropout(1).dropout.seeds.back()};
  const Tensor alone = network->forward(x.narrow(0, kBatch - 1, 1), times().narrow(0, kBatch - 1, 1), own);
  require(at::allclose(alone, first.narrow(0, kBatch - 1, 1), 1e-3, 1e-3),
          "in training mode an image's output depends on the rest of its batch: dropout is by condition.dropout.apply, "
          "whose mask depends on the image's own seed, and there are no statistics of the batch");
}

void starts_from_its_seed(const Subject& subject) {
  const auto seeded = [&](std::uint64_t seed) { return state(*subject.make<Backbone>({kImage, kChannels, {}, seed})); };
  const NamedTensors a = seeded(subject.seed() + 1);
  const NamedTensors b = seeded(subject.seed() + 2);
  bool differs = false;
  for (std::size_t i = 0; i < a.size(); ++i) differs = differs || !at::equal(a[i].second, b[i].second);
  require(differs || a.empty(), "two seeds make one network: draw the weights from make_generator(spec.seed)");
}

void repeats_itself(const Subject& subject) {
  const auto network = backbone(subject);
  const auto other = subject.make<Backbone>({kImage, kChannels, {}, subject.seed() + 1});
  perturb(*network, subject.seed());
  network->train(false);
  const at::NoGradGuard no_grad;
  const Tensor first = network->forward(images(1), times(), {});
  network->forward(images(2), times() + 11, {});
  other->forward(images(3), times(), {});
  require(at::equal(first, network->forward(images(1), times(), {})),
          "after other images, or in another instance, the same image gives another output: what does it keep?");
}

void depends_on_time_and_labels(const Subject& subject) {
  const auto network = backbone(subject, kChannels, kChannels, kClasses);
  perturb(*network, subject.seed());
  network->train(false);
  const at::NoGradGuard no_grad;
  const Tensor x = images(1);
  const Tensor y = network->forward(x, times(), with_labels(0));
  require(!at::equal(y, network->forward(x, times() + 20, with_labels(0))), "the output does not depend on t");
  require(!at::equal(y, network->forward(x, times() + 0.4, with_labels(0))),
          "the output does not depend on the fraction of t; samplers ask between timesteps");
  require(!at::equal(y, network->forward(x, times(), with_labels(kClasses - 1))),
          "with num_classes = 5 the output does not depend on the label");
}

void is_told_of_augmentations(const Subject& subject) {
  Backbone::Spec spec{kImage, kChannels, {}, subject.seed()};
  spec.condition.augment_size = 9;
  const auto network = subject.make<Backbone>(spec);
  perturb(*network, subject.seed());
  network->train(false);
  const at::NoGradGuard no_grad;
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
  const at::NoGradGuard no_grad;
  const Tensor x = images(1, kImageSize, 3);
  const Tensor together = network->forward(x, times(3), {});
  const Tensor alone = network->forward(x.narrow(0, 1, 1), times(3).narrow(0, 1, 1), {});
  const double difference = (together.narrow(0, 1, 1) - alone).abs().max().item<double>();
  require(difference <= 1e-4 * std::max(1.0, together.abs().max().item<double>()),
          text("an image alone and in a batch differ by ", number(difference)));
}

/// With every option that adds a branch.
void computes_in_half_precision(const Subject& subject) {
  const auto network =
      subject.make<Backbone>({kImage, kChannels, {.num_classes = kClasses, .augment_size = 9}, subject.seed()});
  Condition condition = with_labels(1);
  condition.augment = at::ones({kBatch, 9});
  condition.dropout = with_dropout(1).dropout;
  std::vector<std::string> taps;
  for (const TapInfo& tap : network->taps()) taps.push_back(tap.name);
  std::vector<Tensor> outputs;
  try {
    const Autocast autocast(c10::Device(c10::kCPU), Precision::bf16);
    outputs.push_back(network->forward(images(1), times(), condition));
    if (!taps.empty()) {
      const BackboneOutput output = network->forward_with_taps(images(1), times(), condition, taps);
      outputs.push_back(output.sample);
      for (const auto& [name, feature] : output.taps) outputs.push_back(feature);
    }
  } catch (const std::exception& error) {
    throw Failure(text("under bf16 autocast, with labels and augmentation labels: ", error.what()));
  }
  Tensor sum = at::zeros({});
  for (const Tensor& output : outputs) {
    require(output.isfinite().all().item<bool>(), "under bf16 autocast an output is not finite");
    sum = sum + output.to(at::kFloat).square().mean();
  }
  sum.backward();
  for (const auto& [name, parameter] : network->parameters()) {
    require(!parameter.grad().defined() || parameter.grad().isfinite().all().item<bool>(),
            text("under bf16 autocast the gradient of ", name, " is not finite"));
  }
}

Backbone::Spec spec_for(const Subject& subject) { return {kImage, kChannels, {}, subject.seed()}; }

std::shared_ptr<void> stand_in(const void* spec) {
  return std::shared_ptr<Backbone>(std::make_shared<StandInBackbone>(*static_cast<const Backbone::Spec*>(spec)));
}

}  // namespace

Suite requirements() {
  const auto kind = Backbone::kind;
  return suite<Backbone, spec_for>({{kind, "keeps_the_shape_contract", false, keeps_the_shape_contract},
                                    {kind, "leaves_its_conditions", false, leaves_its_conditions},
                                    {kind, "keeps_its_state", false, keeps_its_state},
                                    {kind, "hands_out_its_taps", false, hands_out_its_taps},
                                    {kind, "gives_every_parameter_a_gradient", false, gives_every_parameter_a_gradient},
                                    {kind, "draws_only_from_what_it_is_given", false, draws_only_from_what_it_is_given},
                                    {kind, "starts_from_its_seed", false, starts_from_its_seed},
                                    {kind, "repeats_itself", false, repeats_itself},
                                    {kind, "depends_on_time_and_labels", false, depends_on_time_and_labels},
                                    {kind, "is_told_of_augmentations", false, is_told_of_augmentations},
                                    {kind, "treats_images_alone", false, treats_images_alone},
                                    {kind, "computes_in_half_precision", false, computes_in_half_precision},
                                    {kind, "computes_in_double", true, computes_in_double}},
                                   call_backbone, stand_in);
}

}  // namespace casdm::conformance::backbones
