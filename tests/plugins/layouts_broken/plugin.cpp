#include "casdm/plugin.h"

#include <ATen/ATen.h>

#include "casdm/error.h"
#include "casdm/random.h"
#include "casdm/weight_layout.h"

/// A weight layout that violates the clause of its contract named by the option `fault`, and its network.
namespace casdm {

namespace {

struct WideOptions {
  std::int64_t width = 4;
  static void describe(Schema<WideOptions>& s) { s.option("width", &WideOptions::width, "Channels."); }
};

class WideNetwork final : public NetworkOf<Backbone> {
 public:
  using Options = WideOptions;
  WideNetwork(const Options& options, const Spec& spec) {
    at::Generator generator = make_generator(spec.seed);
    for (const char* name : {"a.weight", "b.weight"}) {
      add_parameter(name, at::empty({options.width, options.width}).normal_(0, 1, generator));
    }
  }
  Tensor forward(const Tensor& x, const Tensor&, const Condition&) override { return x; }
};

struct FaultyLayoutOptions {
  std::string fault = "none";
  static void describe(Schema<FaultyLayoutOptions>& s) {
    s.option("fault", &FaultyLayoutOptions::fault, "What goes wrong.")
        .choices({"none", "rounds", "in_place", "takes_anything", "knows_everything", "forgets", "wrong_width",
                  "wrong_record", "half_a_folder", "not_native"});
  }
};

/// Adds "their." before each name.
class FaultyLayout final : public WeightLayout {
 public:
  using Options = FaultyLayoutOptions;
  FaultyLayout(const Options& options, const Spec&) : options_(options) {}

  WeightLayoutInfo info() const override {
    WeightLayoutInfo info;
    info.backbone = "wide";
    if (is("half_a_folder")) info.config_file = "config.json";
    info.is_native = is("not_native");
    return info;
  }

  LayoutMatch recognise(const ForeignWeights& weights) const override {
    if (is("knows_everything")) return {1, ""};
    return {is_whole(weights) && !is("forgets") ? 1.0 : 0.0, ""};
  }

  BackboneWeights read(const ForeignWeights& weights) const override {
    if (!is_whole(weights) && !is("takes_anything")) throw Error("other names or shapes");
    BackboneWeights result;
    result.summary = "A wide network";
    for (const auto& [name, tensor] : weights.tensors) {
      result.tensors.emplace_back(name.substr(std::min<std::size_t>(6, name.size())), tensor);
      if (is("in_place")) Tensor(tensor).zero_();
    }
    const std::int64_t width = weights.tensors.front().second.size(0);
    result.options.set("width", is("wrong_width") ? width + 1 : width);
    return result;
  }

  ForeignWeights write(const BackboneWeights& weights) const override {
    ForeignWeights result;
    for (const auto& [name, tensor] : weights.tensors) {
      result.tensors.emplace_back("their." + name, is("rounds") ? tensor.to(at::kHalf).to(at::kFloat) : tensor);
    }
    if (is("wrong_record")) result.recorded.set("width", 77);
    return result;
  }

 private:
  bool is(const char* fault) const { return options_.fault == fault; }

  static bool is_whole(const ForeignWeights& weights) {
    const NamedTensors& tensors = weights.tensors;
    return tensors.size() == 2 && tensors[0].first == "their.a.weight" && tensors[1].first == "their.b.weight" &&
           tensors[0].second.dim() == 2 && tensors[0].second.sizes() == tensors[1].second.sizes();
  }

  Options options_;
};

}  // namespace

}  // namespace casdm

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "A weight layout that breaks its contract", .licence = "Apache-2.0"});
  plugin.add<casdm::WideNetwork>("wide", "Two square matrices.");
  plugin.add<casdm::FaultyLayout>("faulty_layout", "Breaks the clause that `fault` names.");
}
