#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <map>

#include "casdm/feature_extractor.h"
#include "casdm/text.h"
#include "fixture.h"

namespace casdm {
namespace {

using namespace testing;

constexpr const char* kDit = "[theta]\ntype = \"dit\"\npatch = 2\nwidth = 16\ndepth = 3\nnum_heads = 2\n";
constexpr const char* kPixels =
    "extractor = { type = \"pixels\", size = 4 }\nfeature = \"spatial\"\nprojector_width = 6\n";

struct Aligned {
  explicit Aligned(const std::string& alignment, const std::string& network = kDit)
      : schedule(make<NoiseScheduler>("flow", "t_max = 0.999", {})) {
    CascadeHead::Spec spec;
    spec.image = ImageShape::square(3, 8);
    spec.schedule = schedule;
    spec.factory = &factory();
    spec.seed = 5;
    head = make<CascadeHead>("single", "[alignment]\n" + std::string(kPixels) + alignment + network, spec);
    for (const NamedModule& module : head->modules()) {
      modules[module.name] = module.module;
      fill_state(module.module->parameters());
    }
  }

  TrainingBatch batch() const {
    return noised_batch(*schedule, fill(1, {2, 3, 8, 8}), at::tensor({0.2, 0.7}, at::kDouble), fill(2, {2, 3, 8, 8}));
  }

  std::shared_ptr<NoiseScheduler> schedule;
  std::shared_ptr<CascadeHead> head;
  std::map<std::string, std::shared_ptr<Module>> modules;
};

bool has(const Losses& losses, const std::string& name) {
  return std::any_of(losses.terms.begin(), losses.terms.end(), [&](const LossTerm& t) { return t.name == name; });
}

TEST_CASE("the alignment is 1 - cos between the projected tap and the extractor's features, averaged over positions") {
  const Aligned aligned("tap = \"block.1\"\nweight = 0.25\n");
  const TrainingBatch batch = aligned.batch();
  const LossTerm found = term(aligned.head->losses(batch, NoMetric()), "alignment");
  CHECK(found.weight == 0.25);
  const auto theta = std::dynamic_pointer_cast<Backbone>(aligned.modules.at("theta"));
  const Tensor t = aligned.schedule->network_time(batch.t);
  Tensor h = theta->forward_with_taps(batch.x_t, t, {}, {"block.1"}).taps.front().second;  // [2, 16, 16]
  std::map<std::string, Tensor> p;
  for (const auto& [name, tensor] : aligned.modules.at("projector")->parameters()) p[name] = tensor;
  h = at::silu(at::linear(h, p.at("0.weight"), p.at("0.bias")));
  h = at::linear(at::silu(at::linear(h, p.at("2.weight"), p.at("2.bias"))), p.at("4.weight"), p.at("4.bias"));
  const auto pixels = make<FeatureExtractor>("pixels", "size = 4", {ImageShape::square(3, 8), 0});
  const Tensor wanted = pixels->extract(batch.x0, {"spatial"}).front().second.flatten(2).transpose(1, 2);
  const Tensor cosine = (h * wanted).sum(2) / (h.norm(2, {2}) * wanted.norm(2, {2}));
  CHECK(max_relative_difference(found.value, (1 - cosine).mean(1)) < 1e-5);
}

TEST_CASE("the alignment trains the projector and everything before the tap, until it ends") {
  const Aligned aligned("tap = \"block.0\"\nuntil_images = 100\n");
  CHECK_FALSE(aligned.head->gradients_are_separate());
  TrainingBatch batch = aligned.batch();
  term(aligned.head->losses(batch, NoMetric()), "alignment").value.sum().backward();
  for (const auto& [name, parameter] : aligned.modules.at("projector")->parameters()) {
    CHECK_MESSAGE(largest(parameter.grad()) > 0, name);
  }
  for (const auto& [name, parameter] : aligned.modules.at("theta")->parameters()) {
    const bool is_before = name.starts_with("x_embedder") || name.starts_with("blocks.0.");
    const bool is_after = name.starts_with("blocks.1.") || name.starts_with("final_layer");
    if (is_before) CHECK_MESSAGE(largest(parameter.grad()) > 0, name);
    if (is_after) CHECK_MESSAGE(!parameter.grad().defined(), name);
  }
  batch.images_seen = 99;
  CHECK(has(aligned.head->losses(batch, NoMetric()), "alignment"));
  batch.images_seen = 100;
  CHECK_FALSE(has(aligned.head->losses(batch, NoMetric()), "alignment"));
  CHECK(has(aligned.head->losses(batch, NoMetric()), "eps"));
}

TEST_CASE("an alignment accepts maps of U-Nets and of other sizes, and features without positions") {
  const std::string unet =
      "[theta]\ntype = \"unet\"\nchannels = 8\nchannel_mult = [1, 2]\nnum_res_blocks = 1\nattention_resolutions = "
      "[]\ngroups = 4\n";
  for (const std::string& network : {std::string(kDit), unet}) {
    const Aligned aligned("", network);  // 4 x 4 positions; the U-Net's middle has the same
    CHECK(term(aligned.head->losses(aligned.batch(), NoMetric()), "alignment").value.sizes() == at::IntArrayRef({2}));
  }
  const std::string patch_of_4 = "[theta]\ntype = \"dit\"\npatch = 4\nwidth = 16\ndepth = 1\nnum_heads = 2\n";
  const Aligned coarse("", patch_of_4);  // 2 x 2 positions
  CHECK(term(coarse.head->losses(coarse.batch(), NoMetric()), "alignment").value.isfinite().all().item<bool>());
}

/// Makes networks, and nothing else.
class NetworksAlone final : public ComponentFactory {
 protected:
  std::shared_ptr<void> make_any(std::string_view kind, const ComponentConfig& config,
                                 const void* spec) const override {
    if (kind != Backbone::kind) throw Error(text("asked for a ", kind));
    return factory().make<Backbone>(config, *static_cast<const Backbone::Spec*>(spec));
  }
};

TEST_CASE("a head created for sampling asks for networks alone and gives the same estimates") {
  const Aligned trained("");
  const NetworksAlone networks;
  CascadeHead::Spec spec;
  spec.image = ImageShape::square(3, 8);
  spec.schedule = trained.schedule;
  spec.factory = &networks;
  spec.seed = 5;
  const std::string options = "[alignment]\n" + std::string(kPixels) + kDit;
  CHECK_THROWS_WITH_AS(make<CascadeHead>("single", options, spec), doctest::Contains("asked for a feature_extractor"),
                       Error);
  spec.is_training = false;
  const auto sampled = make<CascadeHead>("single", options, spec);
  REQUIRE(sampled->modules().size() == 1);
  fill_state(sampled->modules().front().module->parameters());
  const TrainingBatch batch = trained.batch();
  const EstimateInput input{batch.x_t, batch.t, {}, {}};
  CHECK(sampled->estimate(input).eps.equal(trained.head->estimate(input).eps));
  const auto student = make<CascadeHead>("consistency", kDit, spec);
  REQUIRE(student->modules().size() == 1);
  CHECK(student->modules().front().name == "theta");
}

TEST_CASE("a missing tap or feature is refused with those that exist") {
  CHECK_THROWS_WITH_AS(Aligned("tap = \"block.9\"\n"), doctest::Contains("block.2"), ConfigError);
  const auto schedule = make<NoiseScheduler>("flow", "t_max = 0.999", {});
  CascadeHead::Spec spec;
  spec.image = ImageShape::square(3, 8);
  spec.schedule = schedule;
  spec.factory = &factory();
  CHECK_THROWS_WITH_AS(
      make<CascadeHead>(
          "single", "[alignment]\nextractor = { type = \"pixels\" }\nfeature = \"flt\"\n" + std::string(kDit), spec),
      doctest::Contains("alignment.feature: feature_extractors/pixels has no feature \"flt\"; it has flat, spatial"),
      ConfigError);
}

}  // namespace
}  // namespace casdm
