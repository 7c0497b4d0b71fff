#include "alignment.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <vector>

#include "casdm/error.h"
#include "casdm/parameter_maker.h"
#include "casdm/random.h"
#include "casdm/resize.h"
#include "casdm/text.h"

namespace casdm::head_diffusion {

namespace {

TapInfo chosen_tap(const std::string& name, const HeadNetwork& network) {
  const std::vector<TapInfo> taps = network.backbone()->taps();
  if (taps.empty()) throw ConfigError("alignment: the network has no taps (inner features)");
  if (name.empty()) return taps[taps.size() / 3];
  require_taps(*network.backbone(), {name});
  for (const TapInfo& tap : taps) {
    if (tap.name == name) return tap;
  }
  return taps.front();
}

FeatureInfo chosen_feature(const std::string& name, const ExtractorInfo& info, const std::string& type) {
  std::vector<std::string> known;
  for (const FeatureInfo& feature : info.features) {
    if (name.empty() ? feature.is_spatial : feature.name == name) return feature;
    known.push_back(feature.name);
  }
  if (name.empty()) return info.features.front();
  throw ConfigError(
      text("alignment.feature: ", type, " has no feature ", quoted(name), "; it has ", join(known, ", ")));
}

const AlignmentOptions& checked(const AlignmentOptions& options) {
  if (!options.extractor.type.empty()) return options;
  throw ConfigError("alignment.extractor is missing: name one, as extractor = { type = \"...\" }");
}

/// The length of the vectors of a tap.
std::int64_t width_of(const TapInfo& tap) { return tap.shape.size() == 3 ? tap.shape[0] : tap.shape[1]; }

}  // namespace

void AlignmentOptions::describe(Schema<AlignmentOptions>& s) {
  s.component("extractor", &AlignmentOptions::extractor, FeatureExtractor::kind,
              "Extractor whose features of the clean image the network's own are aligned with; required.");
  s.option("feature", &AlignmentOptions::feature,
           "Name of the extractor's feature; empty: its first spatial one, or its first.");
  s.option("tap", &AlignmentOptions::tap,
           "Name of the network's inner feature (block.3, middle); empty: that a third of the way through.");
  s.option("weight", &AlignmentOptions::weight, "Factor of the term.").at_least(0);
  s.option("projector_width", &AlignmentOptions::projector_width, "Width of the projector's hidden layers.")
      .range(1, 1 << 16);
  s.option("until_images", &AlignmentOptions::until_images, "The alignment ends after this many images; 0: never.")
      .at_least(0)
      .in_unit("images");
}

Projector::Projector(std::int64_t in, std::int64_t hidden, std::int64_t out, std::uint64_t seed) {
  const std::int64_t widths[] = {in, hidden, hidden, out};
  for (int i = 0; i < 3; ++i) {
    const std::string name = std::to_string(2 * i);
    const double bound = 1 / std::sqrt(static_cast<double>(widths[i]));
    weights_[i] =
        add_parameter(name + ".weight", seeded_uniform(seed, name + ".weight", {widths[i + 1], widths[i]}, bound));
    biases_[i] = add_parameter(name + ".bias", at::zeros({widths[i + 1]}));
  }
}

Tensor Projector::operator()(const Tensor& x) const {
  const Tensor first = at::silu(at::linear(x, weights_[0], biases_[0]));
  return at::linear(at::silu(at::linear(first, weights_[1], biases_[1])), weights_[2], biases_[2]);
}

FeatureAlignment::FeatureAlignment(const AlignmentOptions& options, const CascadeHead::Spec& spec,
                                   const HeadNetwork& network)
    : options_(options),
      image_(spec.image),
      tap_(chosen_tap(options.tap, network)),
      extractor_(spec.factory->make<FeatureExtractor>(
          checked(options).extractor, {.image = spec.image, .seed = derive_seed(spec.seed, "alignment")})) {
  feature_ = chosen_feature(options.feature, extractor_->info(), options.extractor.type);
  projector_ = std::make_shared<Projector>(width_of(tap_), options.projector_width, feature_.dimension,
                                           derive_seed(spec.seed, "projector"));
  extractor_->train(false);
}

Tensor FeatureAlignment::map_of(const Tensor& tap) const {
  if (tap.dim() == 4) return tap;
  // Tokens are patches, row by row; the image's shape determines how many there are.
  const double patches = static_cast<double>(tap.size(1)), height = static_cast<double>(image_.height);
  const std::int64_t rows = std::llround(std::sqrt(patches * height / static_cast<double>(image_.width)));
  if (rows * (tap.size(1) / rows) != tap.size(1)) {
    throw Error(text("alignment: ", tap.size(1), " tokens of tap '", tap_.name, "' do not form a grid of patches"));
  }
  return tap.transpose(1, 2).unflatten(2, {rows, tap.size(1) / rows});
}

LossTerm FeatureAlignment::term(const Tensor& tap, const Tensor& x0, const std::string& module) const {
  Tensor wanted;
  {
    const at::NoGradGuard no_grad;
    for (const auto& [name, buffer] : extractor_->buffers()) {
      if (buffer.device() != x0.device()) Tensor(buffer).set_data(buffer.to(x0.device()));
    }
    wanted = extractor_->extract(x0, {feature_.name}).front().second.to(at::kFloat);
  }
  if (wanted.dim() == 2) wanted = wanted.unsqueeze(-1).unsqueeze(-1);
  Tensor map = map_of(tap).to(at::kFloat);
  if (!feature_.is_spatial) {
    map = map.mean({2, 3}, /*keepdim=*/true);
  } else if (map.size(2) != wanted.size(2) || map.size(3) != wanted.size(3)) {
    map = resized(map, wanted.size(2), wanted.size(3), Interpolation::bilinear);
  }
  const Tensor projected = (*projector_)(map.flatten(2).transpose(1, 2));
  const Tensor cosine = at::cosine_similarity(projected, wanted.flatten(2).transpose(1, 2), 2, 1e-6);
  return {"alignment", (1 - cosine).mean(1), options_.weight, module};
}

}  // namespace casdm::head_diffusion
