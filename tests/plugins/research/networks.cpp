#include <cmath>
#include <cstdlib>

#include "casdm/dataset.h"
#include "casdm/error.h"
#include "casdm/parameter_maker.h"
#include "research.h"

namespace casdm::research {
namespace {

struct WidthOptions {
  std::int64_t width = 16;
  static void describe(Schema<WidthOptions>& s) { s.option("width", &WidthOptions::width, "Channels.").range(1, 256); }
};

class Layers : public Backbone {
 public:
  NamedTensors parameters() const override { return make_.made(); }

 protected:
  explicit Layers(std::uint64_t seed) : make_(seed) {}
  Tensor layer(const std::string& name, at::IntArrayRef shape) {
    return make_.uniform(name, shape, c10::multiply_integers(shape.slice(1)));
  }

 private:
  ParameterMaker make_;
};

struct ConditionedOptions : WidthOptions {
  double gain = 1.0;
  static void describe(Schema<ConditionedOptions>& s) {
    s.option("width", static_cast<std::int64_t ConditionedOptions::*>(&ConditionedOptions::width), "Channels.")
        .range(1, 256);
    s.option("gain", &ConditionedOptions::gain, "Factor of the output, which no shape shows.");
  }
};

/// Gets a conditioning image in addition to x.
class Conditioned final : public Layers {
 public:
  using Options = ConditionedOptions;
  Conditioned(const Options& options, const Spec& spec) : Layers(spec.seed), gain_(options.gain) {
    const auto& extras = spec.condition.extras;
    const auto found = std::find_if(extras.begin(), extras.end(), [](const ExtraInfo& e) { return e.name == "image"; });
    if (found == extras.end()) throw ConfigError("this network needs a data set with the extra \"image\"");
    in_ = layer("in.weight", {options.width, spec.image.channels + found->shape.front(), 3, 3});
    out_ = layer("out.weight", {spec.out_channels, options.width, 3, 3});
  }
  Tensor forward(const Tensor& x, const Tensor&, const Condition& condition) override {
    const Tensor seen = at::cat({x, condition.extras.at("image").to(x.scalar_type())}, 1);
    return gain_ * at::conv2d(at::silu(at::conv2d(seen, in_, {}, 1, 1)), out_, {}, 1, 1);
  }

 private:
  double gain_;
  Tensor in_, out_;
};

/// Detached from its weights by mistake.
class Detached final : public Layers {
 public:
  using Options = NoOptions;
  Detached(const Options&, const Spec& spec) : Layers(spec.seed) {
    weight_ = layer("weight", {spec.out_channels, spec.image.channels, 3, 3});
  }
  Tensor forward(const Tensor& x, const Tensor&, const Condition&) override {
    return at::conv2d(x, weight_, {}, 1, 1).detach();
  }

 private:
  Tensor weight_;
};

struct PairsOptions {
  double scale = 0.5;
  std::int64_t count = 12;
  static void describe(Schema<PairsOptions>& s) {
    s.option("scale", &PairsOptions::scale, "Of the image that is conditioned on.");
    s.option("count", &PairsOptions::count, "Number of images.").at_least(1);
  }
};

/// Floating-point images, each with a fainter one as a condition, or one turned over in the image whose number, or
/// "all", is in CASDM_TEST_TURNED, as if its file had been replaced.
class Pairs final : public Dataset {
 public:
  using Options = PairsOptions;
  Pairs(const Options& options, const Spec& spec) : shape_(spec.image), scale_(options.scale), size_(options.count) {
    if (const char* turned = std::getenv("CASDM_TEST_TURNED")) turned_ = turned;
  }
  std::int64_t size() const override { return size_; }
  bool is_floating_point() const override { return true; }
  std::vector<ExtraInfo> extras() const override {
    return {{"image", {shape_.channels, shape_.height, shape_.width}, true, false}, {"number", {}, false, true}};
  }
  Example get(std::int64_t index) const override {
    Example example;
    example.image = {shape_.width, shape_.height, shape_.channels, {}, {}};
    const bool is_turned = turned_ == "all" || turned_ == std::to_string(index);
    const auto count = static_cast<std::size_t>(shape_.channels * shape_.height * shape_.width);
    for (std::size_t i = 0; i < count; ++i) {
      const double wave = std::sin(0.1 * static_cast<double>(i + 7 * static_cast<std::size_t>(index)));
      example.image.values.push_back(static_cast<float>(wave));
      example.extras["image"].values.push_back(static_cast<float>((is_turned ? -scale_ : scale_) * wave));
    }
    example.extras["number"].integers = {index};
    return example;
  }
  std::string describe(std::int64_t index) const override { return "pair " + std::to_string(index); }

 private:
  ImageShape shape_;
  double scale_;
  std::int64_t size_;
  std::string turned_;
};

}  // namespace

void add_networks(PluginRegistrar& plugin) {
  plugin.add<Conditioned>("conditioned", "A network that sees a conditioning image.");
  plugin.add<Detached>("detached", "A network that no gradient reaches.");
  plugin.add<Pairs>("pairs", "Images with an image to condition on.");
}

}  // namespace casdm::research
