#include <ATen/ATen.h>

#include <set>

#include "casdm/feature_extractor.h"
#include "casdm/random.h"
#include "casdm/text.h"
#include "framework/conformance/suites.h"

namespace casdm::conformance::feature_extractors {

namespace {

FeatureExtractor::Spec spec_for(const Subject& subject) { return {kImage, subject.seed()}; }

std::shared_ptr<FeatureExtractor> extractor(const Subject& subject) {
  return subject.make<FeatureExtractor>(spec_for(subject));
}

std::vector<std::string> all_names(const ExtractorInfo& info) {
  std::vector<std::string> names;
  for (const FeatureInfo& feature : info.features) names.push_back(feature.name);
  return names;
}

double largest(const Tensor& x) { return x.to(at::kDouble).abs().max().item<double>(); }

/// Relative to the size of the values.
double relative_difference(const Tensor& a, const Tensor& b) {
  return largest(a.to(at::kDouble) - b.to(at::kDouble)) / std::max(1e-6, largest(b));
}

void require_feature(const FeatureInfo& feature, const std::pair<std::string, Tensor>& found, std::int64_t batch) {
  const auto& [name, value] = found;
  require(name == feature.name, text("asked for ", feature.name, " it returned ", name));
  require(value.defined() && value.is_floating_point(), text(name, " is not a floating-point tensor"));
  const bool is_right =
      value.dim() == (feature.is_spatial ? 4 : 2) && value.size(0) == batch && value.size(1) == feature.dimension;
  require(is_right, text(name, " has shape ", value.sizes(), ", expected [", batch, ", ", feature.dimension,
                         feature.is_spatial ? ", h, w]" : "]"));
  require(value.isfinite().all().item<bool>(), text(name, " is not finite"));
}

void declares_its_features(const Subject& subject) {
  const ExtractorInfo info = extractor(subject)->info();
  require(!info.features.empty(), "info() names no feature");
  std::set<std::string> names;
  for (const FeatureInfo& feature : info.features) {
    require(!feature.name.empty(), "a feature has no name");
    require(names.insert(feature.name).second, text("two features are named ", feature.name));
    require(feature.dimension >= 1, text("feature ", feature.name, " has the dimension ", feature.dimension));
  }
  require((info.input_size == 0) == (info.resize == ExtractorResize::none),
          text("its input size is ", info.input_size, ", with", info.resize == ExtractorResize::none ? "out" : "",
               " a resize method: an input size needs one, and 0 none"));
  require(info.weights.empty() || info.weights.size() == 64, "the hash of its weights is not a SHA-256 of 64 digits");
}

void returns_what_it_declares(const Subject& subject) {
  const at::NoGradGuard no_grad;
  const auto network = extractor(subject);
  const ExtractorInfo info = network->info();
  for (const std::int64_t batch : {std::int64_t{1}, std::int64_t{3}}) {
    const Tensor x = images(1, kImageSize, batch);
    const Tensor before = x.clone();
    const NamedTensors found = network->extract(x, all_names(info));
    require(found.size() == info.features.size(),
            text("asked for ", info.features.size(), " features it returned ", found.size()));
    for (std::size_t i = 0; i < found.size(); ++i) require_feature(info.features[i], found[i], batch);
    require(at::equal(x, before), "it changed the images it was given");
  }
}

void returns_what_is_asked_for(const Subject& subject) {
  const at::NoGradGuard no_grad;
  const auto network = extractor(subject);
  const ExtractorInfo info = network->info();
  const Tensor x = images(1);
  const NamedTensors all = network->extract(x, all_names(info));
  for (std::size_t i = 0; i < all.size(); ++i) {
    const NamedTensors one = network->extract(x, {all[i].first});
    require(one.size() == 1, text("asked for ", all[i].first, " alone it returned ", one.size(), " features"));
    require_feature(info.features[i], one.front(), kBatch);
    require(relative_difference(one.front().second, all[i].second) <= 1e-5,
            text(all[i].first, " alone and among all features differs"));
  }
  std::vector<std::string> names = all_names(info);
  std::reverse(names.begin(), names.end());
  const NamedTensors turned = network->extract(x, names);
  for (std::size_t i = 0; i < names.size(); ++i) {
    require(turned.at(i).first == names[i], text("feature ", i, " is ", turned[i].first, ", asked for was ", names[i]));
  }
}

/// The same image as bytes and as floats.
void takes_bytes(const Subject& subject) {
  const at::NoGradGuard no_grad;
  const auto network = extractor(subject);
  const std::vector<std::string> names = all_names(network->info());
  const Tensor bytes = ((images(1) + 1) * 127.5).round().clamp(0, 255).to(at::kByte);
  const NamedTensors from_bytes = network->extract(bytes, names);
  const NamedTensors from_numbers = network->extract(bytes.to(at::kFloat) / 127.5 - 1, names);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const double difference = relative_difference(from_bytes.at(i).second, from_numbers.at(i).second);
    require(difference <= 1e-4, text(names[i], " of bytes v and of the numbers v / 127.5 - 1 differs by ",
                                     number(difference), " of its size"));
  }
}

void treats_images_alone(const Subject& subject) {
  const at::NoGradGuard no_grad;
  const auto network = extractor(subject);
  const std::vector<std::string> names = all_names(network->info());
  const Tensor x = images(1, kImageSize, 3);
  const NamedTensors together = network->extract(x, names);
  const NamedTensors alone = network->extract(x.narrow(0, 1, 1), names);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const double difference = relative_difference(together[i].second.narrow(0, 1, 1), alone[i].second);
    require(difference <= 1e-4,
            text(names[i], " of an image alone and in a batch differs by ", number(difference), " of its size"));
  }
}

void sees_the_image(const Subject& subject) {
  const at::NoGradGuard no_grad;
  const auto network = extractor(subject);
  const std::vector<std::string> names = all_names(network->info());
  const NamedTensors a = network->extract(images(1), names);
  const NamedTensors b = network->extract(images(2), names);
  for (std::size_t i = 0; i < names.size(); ++i) {
    require(relative_difference(a[i].second, b[i].second) > 1e-6, text(names[i], " is the same for two images"));
  }
}

/// Predictions at high noise leave [-1, 1], and images may have only one colour.
void is_finite_everywhere(const Subject& subject) {
  const at::NoGradGuard no_grad;
  const auto network = extractor(subject);
  const std::vector<std::string> names = all_names(network->info());
  const Tensor x = images(1);
  for (const auto& [what, image] : {std::pair<const char*, Tensor>{"a constant image", at::zeros_like(x)},
                                    {"a black image", at::full_like(x, -1)},
                                    {"a white image", at::ones_like(x)},
                                    {"pixels 20 times out of range", x * 20}}) {
    for (const auto& [name, value] : network->extract(image, names)) {
      require(value.isfinite().all().item<bool>(), text(name, " of ", what, " is not finite"));
    }
  }
}

void sends_gradients_to_the_images(const Subject& subject) {
  const auto network = extractor(subject);
  const ExtractorInfo info = network->info();
  if (!info.is_differentiable) throw Skip("it is declared not to be differentiable");
  for (const std::string& name : all_names(info)) {
    const Tensor x = images(1).requires_grad_(true);
    const Tensor value = network->extract(x, {name}).front().second;
    require(value.requires_grad(), text(name, " has no gradient; set is_differentiable = false if that is meant"));
    value.square().sum().backward();
    require(x.grad().defined() && x.grad().isfinite().all().item<bool>(),
            text("the gradient of ", name, " is not finite"));
    for (std::int64_t i = 0; i < kBatch; ++i) {
      require(largest(x.grad()[i]) > 0, text("image ", i, " receives no gradient from ", name));
    }
  }
}

void trains_nothing(const Subject& subject) {
  const auto network = extractor(subject);
  require(network->parameters().empty(), "it has parameters; the weights of an extractor are buffers");
  const NamedTensors before = state(*network);
  std::vector<Tensor> copies;
  for (const auto& [name, tensor] : before) copies.push_back(tensor.clone());
  network->extract(images(1), all_names(network->info()));
  for (std::size_t i = 0; i < copies.size(); ++i) {
    require(at::equal(before[i].second, copies[i]), text("extracting features changes the buffer ", before[i].first));
  }
}

void repeats_itself(const Subject& subject) {
  const at::NoGradGuard no_grad;
  const auto network = extractor(subject);
  const std::vector<std::string> names = all_names(network->info());
  const NamedTensors first = network->extract(images(1), names);
  network->extract(images(2), names);
  const NamedTensors again = network->extract(images(1), names);
  const NamedTensors other = extractor(subject)->extract(images(1), names);
  for (std::size_t i = 0; i < names.size(); ++i) {
    require(at::equal(first[i].second, again[i].second), text(names[i], " of one image differs after another image"));
    require(at::equal(first[i].second, other[i].second), text(names[i], " of one image differs in another instance"));
  }
}

void call(Caller& caller) {
  auto network = caller.make<FeatureExtractor>(spec_for(caller.subject));
  std::vector<std::string> names;
  caller.run("info", [&] { names = all_names(network->info()); });
  caller.read_state(*network);
  caller.place(*network);
  caller.run("train", [&] { network->train(false); });
  const Tensor x = caller.placed(images(1)).requires_grad_(true);
  NamedTensors features;
  caller.run("extract", [&] { features = network->extract(x, names); });
  Tensor total = caller.placed(at::zeros({}));
  for (const auto& [name, value] : features) {
    caller.keep(value);
    total = total + value.square().sum();
  }
  if (total.requires_grad()) caller.run("the backward of extract", [&] { total.backward(); });
  caller.keep(x.grad());
  caller.destroy(network);
}

/// One convolution and its mean.
class StandInExtractor final : public NetworkOf<FeatureExtractor> {
 public:
  explicit StandInExtractor(const Spec& spec) {
    at::Generator generator = make_generator(derive_seed(spec.seed, "stand-in extractor"));
    weight_ = add_buffer("weight", at::empty({4, spec.image.channels, 3, 3}, at::kFloat).normal_(0, 0.3, generator));
  }

  ExtractorInfo info() const override { return {.features = {{"pooled", 4, false}, {"spatial", 4, true}}}; }

  NamedTensors extract(const Tensor& images, const std::vector<std::string>& names) override {
    const Tensor x = images.is_floating_point() ? images : images.to(at::kFloat) / 127.5 - 1;
    const Tensor spatial = at::tanh(at::conv2d(x, weight_.to(x.options()), {}, 1, 1));
    NamedTensors result;
    for (const std::string& name : names) {
      result.emplace_back(name, name == "spatial" ? spatial : spatial.mean({2, 3}));
    }
    return result;
  }

 private:
  Tensor weight_;
};

std::shared_ptr<void> stand_in(const void* spec) {
  return std::shared_ptr<FeatureExtractor>(
      std::make_shared<StandInExtractor>(*static_cast<const FeatureExtractor::Spec*>(spec)));
}

}  // namespace

Suite requirements() {
  const auto kind = FeatureExtractor::kind;
  return suite<FeatureExtractor, spec_for>(
      {{kind, "declares_its_features", false, declares_its_features},
       {kind, "returns_what_it_declares", false, returns_what_it_declares},
       {kind, "returns_what_is_asked_for", false, returns_what_is_asked_for},
       {kind, "takes_bytes", false, takes_bytes},
       {kind, "treats_images_alone", false, treats_images_alone},
       {kind, "sees_the_image", false, sees_the_image},
       {kind, "is_finite_everywhere", false, is_finite_everywhere},
       {kind, "sends_gradients_to_the_images", false, sends_gradients_to_the_images},
       {kind, "trains_nothing", false, trains_nothing},
       {kind, "repeats_itself", false, repeats_itself}},
      call, stand_in);
}

}  // namespace casdm::conformance::feature_extractors
