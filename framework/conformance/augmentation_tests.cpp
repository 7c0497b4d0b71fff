#include <ATen/ATen.h>

#include "casdm/augmentation.h"
#include "casdm/random.h"
#include "casdm/text.h"
#include "framework/conformance/suites.h"

namespace casdm::conformance::augmentations {

namespace {

constexpr std::int64_t kMany = 32;

/// Resampling overshoots at edges and colours are stretched, so values may leave [-1, 1], but not by more than this.
constexpr double kLargestPixel = 5;

std::shared_ptr<Augmentation> augmentation(const Subject& subject, std::int64_t channels = kChannels) {
  return subject.make<Augmentation>({ImageShape::square(channels, kImageSize)});
}

std::vector<std::uint64_t> seeds(std::uint64_t seed, std::int64_t count) {
  std::vector<std::uint64_t> result;
  for (std::int64_t i = 0; i < count; ++i) {
    result.push_back(derive_seed(seed, "augmentation", static_cast<std::uint64_t>(i)));
  }
  return result;
}

double largest_difference(const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<double>(); }

/// Whether images and labels are the same.
bool same(const Augmented& a, const Augmented& b) {
  return at::equal(a.images, b.images) &&
         (a.labels.defined() ? b.labels.defined() && at::equal(a.labels, b.labels) : !b.labels.defined());
}

void keeps_the_shape_contract(const Subject& subject) {
  const at::NoGradGuard no_grad;
  for (const auto& [batch, channels] : {std::pair<std::int64_t, std::int64_t>{1, 3}, {kMany, 3}, {kMany, 1}}) {
    const auto augment = augmentation(subject, channels);
    const Tensor x = images(1, kImageSize, batch, channels);
    const Augmented result = augment->apply(x, seeds(subject.seed(), batch));
    require(result.images.sizes() == x.sizes() && result.images.scalar_type() == x.scalar_type(),
            text("it returned images of ", result.images.sizes(), " ", at::toString(result.images.scalar_type()),
                 ", expected ", x.sizes(), " Float"));
    require(result.images.isfinite().all().item<bool>(), "an image is not finite");
    const double largest = result.images.abs().max().item<double>();
    require(largest <= kLargestPixel, text("a pixel is ", number(largest), "; images stay about [-1, 1]"));
    const std::int64_t size = augment->label_size();
    require(result.labels.defined() == (size > 0),
            text("label_size() is ", size, ", but the labels are ", result.labels.defined() ? "defined" : "undefined"));
    if (size == 0) continue;
    const std::vector<std::int64_t> expected = {batch, size};
    require(result.labels.sizes() == at::IntArrayRef(expected),
            text("the labels are ", result.labels.sizes(), ", expected ", at::IntArrayRef(expected)));
    require(result.labels.isfinite().all().item<bool>(), "a label is not finite");
  }
}

void is_a_function_of_the_seeds(const Subject& subject) {
  const at::NoGradGuard no_grad;
  const auto augment = augmentation(subject);
  const Tensor x = images(1, kImageSize, kMany);
  const Tensor before = x.clone();
  const Augmented first = augment->apply(x, seeds(subject.seed(), kMany));
  require(at::equal(x, before), "it changed the images it was given; it must return others");
  require(same(first, augment->apply(x, seeds(subject.seed(), kMany))), "the same seeds give two results");
  require(same(first, augmentation(subject)->apply(x, seeds(subject.seed(), kMany))),
          "two instances give two results for the same seeds");
  require(!at::equal(first.images, augment->apply(x, seeds(subject.seed() + 1, kMany)).images),
          "other seeds give the same images");
}

void treats_images_alone(const Subject& subject) {
  const at::NoGradGuard no_grad;
  const auto augment = augmentation(subject);
  const Tensor x = images(1, kImageSize, kMany);
  const std::vector<std::uint64_t> all = seeds(subject.seed(), kMany);
  const Augmented together = augment->apply(x, all);
  for (std::int64_t i = 0; i < kMany; ++i) {
    const Augmented alone = augment->apply(x.narrow(0, i, 1), {all[static_cast<std::size_t>(i)]});
    const double difference = largest_difference(alone.images, together.images.narrow(0, i, 1));
    require(difference <= 1e-5, text("image ", i, " alone and in a batch differs by ", number(difference)));
    require(!alone.labels.defined() || largest_difference(alone.labels, together.labels.narrow(0, i, 1)) <= 1e-6,
            text("image ", i, " alone and in a batch has different labels"));
  }
}

/// Sampling passes labels of zero, so they must mean an unchanged image.
void labels_of_zero_mean_untouched(const Subject& subject) {
  const at::NoGradGuard no_grad;
  const auto augment = augmentation(subject);
  if (augment->label_size() == 0) throw Skip("it has no labels");
  const Tensor x = images(1, kImageSize, kMany);
  const Augmented result = augment->apply(x, seeds(subject.seed(), kMany));
  for (std::int64_t i = 0; i < kMany; ++i) {
    if (result.labels[i].abs().max().item<double>() != 0) continue;
    const double difference = largest_difference(result.images[i], x[i]);
    require(difference <= 1e-4, text("image ", i, " has labels of zero, but was changed by ", number(difference)));
  }
}

Augmentation::Spec spec_for(const Subject&) { return {kImage}; }

}  // namespace

Suite requirements() {
  const auto kind = Augmentation::kind;
  return suite<Augmentation, spec_for>({{kind, "keeps_the_shape_contract", false, keeps_the_shape_contract},
                                        {kind, "is_a_function_of_the_seeds", false, is_a_function_of_the_seeds},
                                        {kind, "treats_images_alone", false, treats_images_alone},
                                        {kind, "labels_of_zero_mean_untouched", false, labels_of_zero_mean_untouched}},
                                       call_augmentation);
}

}  // namespace casdm::conformance::augmentations
