#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "casdm/metric_loss.h"
#include "casdm/random.h"
#include "casdm/text.h"
#include "framework/conformance/suites.h"

namespace casdm::conformance::metrics {

namespace {

/// Gradient checks perturb along random directions; the step balances truncation and rounding in fp64.
constexpr double kStep = 1e-6;
constexpr double kGradientTolerance = 1e-5;
constexpr int kDirections = 4;

/// Each process runs one test, so this counts for one test.
int stand_ins_made = 0;

/// A metric with images as large as it needs, in its own range; in double precision if requested.
struct MetricUnderTest {
  explicit MetricUnderTest(const Subject& subject, bool in_double = false) {
    size = kImageSize;
    metric = subject.make<MetricLoss>({ImageShape::square(kChannels, size), &subject.factory()});
    if (metric->info().minimum_size > size) {
      size = metric->info().minimum_size;
      metric = subject.make<MetricLoss>({ImageShape::square(kChannels, size), &subject.factory()});
    }
    if (!in_double) return;
    at::NoGradGuard no_grad;
    for (auto& [name, tensor] : state(*metric)) {
      if (tensor.is_floating_point()) Tensor(tensor).set_data(tensor.to(at::kDouble));
    }
  }

  /// For images in [-1, 1].
  Tensor operator()(const Tensor& a, const Tensor& b) { return (*metric)(fitted(a), fitted(b)); }

  Tensor fitted(const Tensor& image) const {
    const auto [low, high] = metric->info().input_range.value_or(std::array<double, 2>{-1, 1});
    return low == -1 && high == 1 ? image : (image + 1) * ((high - low) / 2) + low;
  }

  std::shared_ptr<MetricLoss> metric;
  std::int64_t size;
};

/// The distances and their gradient with respect to the prediction.
std::pair<Tensor, Tensor> with_gradient(MetricUnderTest& metric, const Tensor& prediction, const Tensor& target) {
  const Tensor leaf = prediction.detach().clone().requires_grad_(true);
  const Tensor value = metric(leaf, target);
  require(
      value.requires_grad(),
      "the distance has no gradient with respect to the prediction, so it would train nothing: has it been detached, "
      "computed without gradient, or turned into a number and back?");
  value.sum().backward();
  require(leaf.grad().defined(), "the prediction received no gradient");
  return {value.detach(), leaf.grad()};
}

void returns_one_distance_per_image(const Subject& subject) {
  for (const auto type : {at::kFloat, at::kDouble}) {
    MetricUnderTest metric(subject, type == at::kDouble);
    const Tensor prediction = images(1, metric.size, 3).to(type);
    const Tensor target = images(2, metric.size, 3).to(type);
    const Tensor value = metric(prediction, target);
    const std::int64_t expected = metric.metric->info().is_per_image ? 3 : 1;
    require(value.defined() && value.dim() == 1 && value.size(0) == expected,
            text("for 3 images it returned a tensor of shape ", value.sizes(), ", expected [", expected, "]"));
    require(value.scalar_type() == type, text("for images of type ", at::toString(type), " it returned ",
                                              at::toString(value.scalar_type()), "; keep the precision you are given"));
    require(at::equal(prediction, images(1, metric.size, 3).to(type)) &&
                at::equal(target, images(2, metric.size, 3).to(type)),
            "it changed the images it was given; compute with copies");
  }
}

/// Predictions are near their targets: farther away a metric may be constant, as where a similarity cannot fall
/// further.
void gives_every_image_a_gradient(const Subject& subject) {
  MetricUnderTest metric(subject);
  const Tensor target = images(2, metric.size, 3);
  const auto [value, gradient] = with_gradient(metric, 0.8 * target + 0.2 * images(1, metric.size, 3), target);
  for (std::int64_t i = 0; i < 3; ++i) {
    require(gradient[i].abs().max().item<double>() > 0,
            text("image ", i,
                 " differs from its target, but its gradient is 0, so it would train nothing: is a step "
                 "of it constant, such as rounding?"));
  }
}

/// What is prepared for the target once can be used for any number of predictions.
void keeps_what_it_prepared(const Subject& subject) {
  MetricUnderTest metric(subject);
  const at::NoGradGuard no_grad;
  const Tensor a = metric.fitted(images(1, metric.size));
  const Tensor b = metric.fitted(images(2, metric.size));
  const std::vector<Tensor> prepared = metric.metric->prepare(b);
  const Tensor first = metric.metric->distance(a, prepared), kept = first.clone();
  metric.metric->distance(b, prepared);
  require(at::equal(first, kept), "the next call of distance changes what it returned before");
  require(at::equal(first, metric.metric->distance(a, prepared)),
          "distance changes what prepare returned, so a second prediction has another distance");
  require(at::equal(first, metric.metric->distance(a, metric.metric->prepare(b))),
          "what prepare returns depends on what was prepared before");
}

/// The metric accepts the sizes and channels that info() declares.
void serves_what_it_declares(const Subject& subject) {
  const MetricInfo info = subject.make<MetricLoss>({kImage, &subject.factory()})->info();
  require(info.lowest <= info.highest,
          text("info(): lowest, ", number(info.lowest), ", is above highest, ", number(info.highest)));
  require(info.minimum_size >= 1, text("info(): minimum_size is ", info.minimum_size, "; 1 means any"));
  require(!info.input_range || (*info.input_range)[0] < (*info.input_range)[1], "info(): input_range does not rise");
  const std::int64_t size = info.minimum_size;
  for (const std::int64_t channels : {kChannels, std::int64_t{1}}) {
    if (info.channels != 0 && info.channels != channels) continue;
    std::shared_ptr<MetricLoss> metric;
    try {
      metric = subject.make<MetricLoss>({ImageShape::square(channels, size), &subject.factory()});
    } catch (const ConfigError& error) {
      throw Failure(text("info() promises images of ", size, " px and ", channels, " channels, but: ", error.what()));
    }
    if (metric->info().minimum_size > size) continue;
    const Tensor prediction = images(1, size, kBatch, channels).requires_grad_(true);
    const Tensor value = (*metric)(prediction, images(2, size, kBatch, channels));
    value.sum().backward();
    require(value.isfinite().all().item<bool>() && prediction.grad().isfinite().all().item<bool>(),
            text("for images of ", size, " px and ", channels, " channels, which info() promises, it is not finite"));
  }
}

void gradient_is_the_derivative(const Subject& subject) {
  MetricUnderTest metric(subject, true);
  const Tensor target = images(subject.seed() + 2, metric.size).to(at::kDouble);
  const Tensor prediction = images(subject.seed() + 1, metric.size).to(at::kDouble);
  const Tensor gradient = with_gradient(metric, prediction, target).second;
  at::Generator generator = make_generator(derive_seed(subject.seed(), "directions"));
  for (int i = 0; i < kDirections; ++i) {
    Tensor direction = at::empty_like(prediction).normal_(0, 1, generator);
    direction = direction / direction.norm();
    const Tensor above = metric(prediction + kStep * direction, target).sum();
    const Tensor below = metric(prediction - kStep * direction, target).sum();
    const double numeric = ((above - below) / (2 * kStep)).item<double>();
    const double analytic = (gradient * direction).sum().item<double>();
    const double scale = std::max({std::abs(numeric), std::abs(analytic), gradient.norm().item<double>() * 1e-2, 1e-7});
    require(std::abs(numeric - analytic) <= kGradientTolerance * scale,
            text("along direction ", i, " backward gives ", number(analytic), " but central differences give ",
                 number(numeric), " (ratio ", number(analytic / numeric), ")"));
  }
}

void is_finite_everywhere(const Subject& subject) {
  MetricUnderTest metric(subject);
  const Tensor image = images(1, metric.size);
  const auto constant = [&](double value) { return at::full_like(image, value); };
  const std::vector<std::tuple<const char*, Tensor, Tensor>> cases = {
      {"identical images", image, image},
      {"identical constant images", constant(0.3), constant(0.3)},
      {"constant images at the ends of the range", constant(1), constant(-1)},
      {"an image against a constant one", image, constant(-1)},
      {"a constant image against an image", constant(-1), image},
      {"a prediction far outside [-1, 1]", image * 20, image}};
  for (const auto& [name, prediction, target] : cases) {
    const auto [value, gradient] = with_gradient(metric, prediction, target);
    require(value.isfinite().all().item<bool>(),
            text("for ", name, " the distance is ", number(value[0].item<double>())));
    require(gradient.isfinite().all().item<bool>(), text("for ", name, " the gradient is not finite"));
  }
}

void keeps_its_declared_properties(const Subject& subject) {
  MetricUnderTest metric(subject);
  const MetricInfo info = metric.metric->info();
  const Tensor a = images(1, metric.size);
  const Tensor b = images(2, metric.size);
  at::NoGradGuard no_grad;
  const Tensor ab = metric(a, b);
  const double tolerance = 1e-5 * std::max(1.0, ab.abs().max().item<double>());
  require(ab.min().item<double>() >= info.lowest - tolerance && ab.max().item<double>() <= info.highest + tolerance,
          text("a distance of ", number(ab[0].item<double>()), " lies outside the declared range"));
  if (info.is_symmetric) {
    const double difference = (metric(b, a) - ab).abs().max().item<double>();
    require(difference <= tolerance,
            text("it is declared symmetric, but d(a,b) and d(b,a) differ by ", number(difference)));
  }
  if (info.is_zero_at_identity) {
    const double identity = (metric(a, a) - info.lowest).abs().max().item<double>();
    require(identity <= tolerance, text("d(a,a) is ", number(identity), " above the declared lowest value"));
    require((ab - info.lowest).min().item<double>() > 0, "two different images have the distance of identical ones");
  }
}

void treats_images_alone(const Subject& subject) {
  MetricUnderTest metric(subject);
  if (!metric.metric->info().is_per_image) throw Skip("it compares batches, not images");
  const Tensor a = images(1, metric.size, 3);
  const Tensor b = images(2, metric.size, 3);
  at::NoGradGuard no_grad;
  const Tensor together = metric(a, b);
  for (std::int64_t i = 0; i < 3; ++i) {
    const double alone = metric(a.narrow(0, i, 1), b.narrow(0, i, 1))[0].item<double>();
    const double batched = together[i].item<double>();
    require(std::abs(alone - batched) <= 1e-5 * std::max(1.0, std::abs(batched)),
            text("image ", i, " of a batch has distance ", number(batched), ", alone ", number(alone)));
  }
}

void repeats_itself(const Subject& subject) {
  MetricUnderTest metric(subject);
  MetricUnderTest other(subject);
  const Tensor a = images(1, metric.size);
  const Tensor b = images(2, metric.size);
  at::NoGradGuard no_grad;
  const Tensor first = metric(a, b);
  other(b * 0.5, a);
  require(at::equal(first, metric(a, b)), "the same images gave two different distances");
  require(at::equal(first, other(a, b)), "two instances give different distances: do they share state?");
  if (metric.metric->info().has_state) return;
  MetricContext training;
  training.is_training = true;
  const auto trained = [&](const Tensor& prediction, const Tensor& target) {
    return (*metric.metric)(metric.fitted(prediction), metric.fitted(target), training);
  };
  const Tensor in_training = trained(a, b);
  trained(b * 0.5, a);
  require(
      at::equal(in_training, trained(a, b)),
      "in training the same images gave two different distances: what it remembers must be a buffer, and info() must "
      "say has_state");
}

/// A metric's memory changes only in training, and all of it is in its buffers.
void remembers_in_its_buffers(const Subject& subject) {
  MetricUnderTest metric(subject);
  if (!metric.metric->info().has_state) throw Skip("it has no state");
  const at::NoGradGuard no_grad;
  const auto copies = [](const MetricLoss& of) {
    std::vector<Tensor> result;
    for (const auto& [name, buffer] : of.buffers()) result.push_back(buffer.clone());
    return result;
  };
  const auto same = [](const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](const Tensor& x, const Tensor& y) { return x.equal(y); });
  };
  const Tensor a = metric.fitted(images(1, metric.size));
  const Tensor b = metric.fitted(images(2, metric.size));
  const std::vector<Tensor> fresh = copies(*metric.metric);
  (*metric.metric)(a, b);
  require(same(fresh, copies(*metric.metric)), "its buffers change outside training");

  MetricContext training;
  training.is_training = true;
  (*metric.metric)(a, b, training);
  require(!same(fresh, copies(*metric.metric)), "info() says has_state, but its buffers do not change in training");
  MetricUnderTest other(subject);
  const std::vector<Tensor> learned = copies(*metric.metric);
  const NamedTensors handles = other.metric->buffers();
  for (std::size_t i = 0; i < handles.size(); ++i) Tensor(handles[i].second).copy_(learned[i]);
  require(at::equal((*metric.metric)(b, a, training), (*other.metric)(b, a, training)),
          "restored from its buffers it gives another distance: it remembers something elsewhere");
  (*metric.metric)(a, a * 0.5, training);
  (*other.metric)(a, a * 0.5, training);
  require(same(copies(*metric.metric), copies(*other.metric)),
          "restored from its buffers it goes on to learn otherwise: it remembers something elsewhere");
}

/// For a metric made of others, all of them stand-ins here, which weight images by their signal-to-noise ratio.
void hands_its_context_on(const Subject& subject) {
  MetricUnderTest metric(subject);
  if (stand_ins_made == 0) throw Skip("it is not made of other metrics");
  if (!metric.metric->info().is_per_image) throw Skip("it compares the batch as a whole");
  const Tensor a = metric.fitted(images(1, metric.size, 2));
  const Tensor b = metric.fitted(images(2, metric.size, 2));
  MetricContext context;
  context.t = at::tensor({1, 2});
  context.log_snr = at::tensor({0.0, std::log(3.0)}, at::kDouble);
  const Tensor plain = (*metric.metric)(a, b), told = (*metric.metric)(a, b, context);
  require(at::allclose(told[0], plain[0]), "an image whose noise level changes nothing has another distance with it");
  require(!at::allclose(told[1], plain[1]),
          "the metrics that it is made of are not told the noise level: override distance_in and hand the context on");
}

void trains_nothing(const Subject& subject) {
  MetricUnderTest metric(subject);
  require(metric.metric->parameters().empty(), "a metric's weights are buffers: parameters() must be empty");
  with_gradient(metric, images(1, metric.size), images(2, metric.size));
  for (const auto& [name, buffer] : metric.metric->buffers()) {
    require(!buffer.grad().defined(), text("buffer ", name, " received a gradient"));
  }
}

void is_safe_in_bfloat16(const Subject& subject) {
  MetricUnderTest metric(subject);
  const Tensor a = images(1, metric.size).to(at::kBFloat16).to(at::kFloat);
  const Tensor b = images(2, metric.size);
  const auto [value, gradient] = with_gradient(metric, a, b);
  require(value.isfinite().all().item<bool>() && gradient.isfinite().all().item<bool>(),
          "an image that was rounded to bfloat16 gives values that are not finite");
}

MetricLoss::Spec spec_for(const Subject& subject) { return {kImage, &subject.factory()}; }

class StandInMetric final : public MetricLoss {
 public:
  MetricInfo info() const override { return {.input_range = std::nullopt}; }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override {
    return (prediction - target.at(0)).square().mean({1, 2, 3});
  }
  Tensor distance_in(const Tensor& prediction, const std::vector<Tensor>& target,
                     const MetricContext& context) override {
    const Tensor weight = context.log_snr.defined() ? context.log_snr.exp() : at::ones({});
    return distance(prediction, target) * weight.to(prediction.scalar_type());
  }
};

std::shared_ptr<void> stand_in(const void*) {
  ++stand_ins_made;
  return std::shared_ptr<MetricLoss>(std::make_shared<StandInMetric>());
}

}  // namespace

Suite requirements() {
  const auto kind = MetricLoss::kind;
  return suite<MetricLoss, spec_for>({{kind, "returns_one_distance_per_image", false, returns_one_distance_per_image},
                                      {kind, "gives_every_image_a_gradient", false, gives_every_image_a_gradient},
                                      {kind, "gradient_is_the_derivative", false, gradient_is_the_derivative},
                                      {kind, "keeps_what_it_prepared", false, keeps_what_it_prepared},
                                      {kind, "serves_what_it_declares", false, serves_what_it_declares},
                                      {kind, "is_finite_everywhere", false, is_finite_everywhere},
                                      {kind, "keeps_its_declared_properties", false, keeps_its_declared_properties},
                                      {kind, "treats_images_alone", false, treats_images_alone},
                                      {kind, "remembers_in_its_buffers", false, remembers_in_its_buffers},
                                      {kind, "hands_its_context_on", false, hands_its_context_on},
                                      {kind, "repeats_itself", false, repeats_itself},
                                      {kind, "trains_nothing", false, trains_nothing},
                                      {kind, "is_safe_in_bfloat16", true, is_safe_in_bfloat16}},
                                     call_metric, stand_in);
}

}  // namespace casdm::conformance::metrics
