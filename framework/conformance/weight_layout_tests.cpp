#include <ATen/ATen.h>

#include <map>

#include "casdm/random.h"
#include "casdm/safetensors.h"
#include "casdm/text.h"
#include "casdm/weight_layout.h"
#include "framework/conformance/suites.h"

namespace casdm::conformance::weight_layouts {

namespace {

constexpr std::size_t kMostTried = 8;  ///< tensors of a network that are removed and reshaped, one at a time

/// A layout and a small network that it supports.
struct LayoutUnderTest {
  explicit LayoutUnderTest(const Subject& subject)
      : layout(subject.make<WeightLayout>({kImageSize})), info(layout->info()) {
    const std::string& type = subject.config().type;
    const bool is_full = info.backbone.find('/') != std::string::npos;
    Value table = info.sample;
    table.set("type", is_full ? info.backbone : type.substr(0, type.find('/') + 1) + info.backbone);
    try {
      const Value resolved = resolve_component(table, Backbone::kind, subject.factory().catalog());
      config = {resolved.find("type")->as_string(), resolved};
    } catch (const ConfigError& error) {
      throw Failure(text("info(): backbone and sample do not make a network: ", error.what()));
    }
    network.spec = {ImageShape::square(kChannels, kImageSize), kChannels, {}, subject.seed()};
    network.options = config.table;
    const auto backbone = subject.factory().make<Backbone>(config, network.spec);
    perturb(*backbone, subject.seed());
    for (const auto& [name, tensor] : state(*backbone)) network.tensors.emplace_back(name, tensor.detach());
  }

  std::shared_ptr<WeightLayout> layout;
  WeightLayoutInfo info;
  ComponentConfig config;  ///< of the network
  BackboneWeights network;
};

void require_equal(const NamedTensors& found, const NamedTensors& expected, const std::string& what) {
  std::map<std::string, Tensor> left(found.begin(), found.end());
  for (const auto& [name, tensor] : expected) {
    const auto at = left.find(name);
    require(at != left.end(), text(what, " has no tensor ", name));
    require(at->second.scalar_type() == tensor.scalar_type() && at::equal(at->second, tensor),
            text(what, " has another ", name));
    left.erase(at);
  }
  require(left.empty(), text(what, " has a tensor too many: ", left.empty() ? "" : left.begin()->first));
}

NamedTensors copies(const NamedTensors& tensors) {
  NamedTensors result;
  for (const auto& [name, tensor] : tensors) result.emplace_back(name, tensor.clone());
  return result;
}

void describes_itself(const Subject& subject) {
  const LayoutUnderTest test(subject);
  const WeightLayoutInfo& info = test.info;
  require(info.weights_file.empty() == info.config_file.empty(),
          "info(): weights_file and config_file name the files of a folder together, or are both empty");
  if (!info.is_native) return;
  require(info.weights_file.empty(), "info(): a native layout is a file of tensors, so weights_file must be empty");
  require_equal(test.layout->write(test.network).tensors, test.network.tensors,
                "info() calls the layout native, but what it writes");
}

void gives_back_what_it_wrote(const Subject& subject) {
  const LayoutUnderTest test(subject);
  const NamedTensors before = copies(test.network.tensors);
  const ForeignWeights theirs = test.layout->write(test.network);
  require_equal(test.network.tensors, before, "after write, what it was given");
  const NamedTensors written = copies(theirs.tensors);
  require_equal(test.layout->read(theirs).tensors, test.network.tensors, "what it wrote and read again");
  require_equal(theirs.tensors, written, "after read, what it was given");
}

/// The options that the layout infers from weights must create the network that has them.
void tells_the_network(const Subject& subject) {
  const LayoutUnderTest test(subject);
  const ForeignWeights theirs = test.layout->write(test.network);
  const BackboneWeights told = test.layout->read(theirs);
  require(!told.summary.empty(), "read leaves summary empty: say in a few words what the weights are");
  Value table = test.info.sample;
  for (const auto& [name, value] : told.options.as_table()) table.set(name, value);
  table.set("type", test.config.type);
  Backbone::Spec spec = told.spec;
  spec.image.height = spec.image.width = kImageSize;
  try {
    const Value resolved = resolve_component(table, Backbone::kind, subject.factory().catalog());
    load_state(*subject.factory().make<Backbone>({test.config.type, resolved}, spec), told.tensors, "the layout");
  } catch (const Error& error) {
    throw Failure(
        text("the options and spec that read returns do not make a network with its tensors: ", error.what()));
  }
  for (const auto& [name, value] : theirs.recorded.as_table()) {
    const Value* own = test.network.options.find(name);
    require(own != nullptr && *own == value, text("write records ", name, " = ", to_json(value), ", which is not the ",
                                                  "network's: record options of the backbone as they are"));
  }
}

void recognises_its_own_and_no_other(const Subject& subject) {
  const LayoutUnderTest test(subject);
  const ForeignWeights theirs = test.layout->write(test.network);
  const double confidence = test.layout->recognise(theirs).confidence;
  require(confidence > 0 && confidence <= 1,
          text("of what it wrote it is sure to ", number(confidence), ", expected above 0 and at most 1"));
  at::Generator generator = make_generator(subject.seed());
  const Tensor noise = at::empty({4, 4}, at::kFloat).normal_(0, 1, generator);
  ForeignWeights tensors;
  tensors.tensors = {{"weight", noise}, {"bias", noise[0]}};
  ForeignWeights folder = tensors;
  folder.config = Value::Table{};
  for (const ForeignWeights& other : {ForeignWeights{}, tensors, folder}) {
    require(test.layout->recognise(other).confidence == 0,
            text("it recognises ", other.tensors.size(), " tensors of no network"));
  }
}

void refuses_what_does_not_fit(const Subject& subject) {
  const LayoutUnderTest test(subject);
  const ForeignWeights whole = test.layout->write(test.network);
  const auto refused = [&](const ForeignWeights& weights, const std::string& what) {
    try {
      test.layout->read(weights);
    } catch (const Error&) {
      return;
    } catch (const std::exception& error) {
      throw Failure(text("read of weights with ", what, " throws no casdm::Error, but: ", error.what()));
    }
    throw Failure(text("read takes weights with ", what, "; it must throw Error that says what differs"));
  };
  const std::size_t stride = std::max<std::size_t>(1, whole.tensors.size() / kMostTried);
  for (std::size_t i = 0; i < whole.tensors.size(); i += stride) {
    const auto& [name, tensor] = whole.tensors[i];
    ForeignWeights without = whole;
    without.tensors.erase(without.tensors.begin() + static_cast<std::ptrdiff_t>(i));
    refused(without, text("no ", name));
    ForeignWeights reshaped = whole;
    reshaped.tensors[i].second = at::zeros({tensor.numel() + 1});
    refused(reshaped, text(name, " of another shape"));
  }
  ForeignWeights more = whole;
  more.tensors.emplace_back("conformance.surplus", at::zeros({3}));
  refused(more, "a tensor too many");
}

WeightLayout::Spec spec_for(const Subject&) { return {kImageSize}; }

void call(Caller& caller) {
  const LayoutUnderTest test(caller.subject);
  auto layout = caller.make<WeightLayout>(spec_for(caller.subject));
  ForeignWeights theirs;
  caller.run("info", [&] { layout->info(); });
  caller.run("write", [&] { theirs = layout->write(test.network); });
  caller.run("recognise", [&] { layout->recognise(theirs); });
  caller.run("read", [&] {
    for (const auto& [name, tensor] : layout->read(theirs).tensors) caller.keep(tensor);
  });
  caller.destroy(layout);
}

}  // namespace

Suite requirements() {
  const auto kind = WeightLayout::kind;
  return suite<WeightLayout, spec_for>(
      {{kind, "describes_itself", false, describes_itself},
       {kind, "gives_back_what_it_wrote", false, gives_back_what_it_wrote},
       {kind, "tells_the_network", false, tells_the_network},
       {kind, "recognises_its_own_and_no_other", false, recognises_its_own_and_no_other},
       {kind, "refuses_what_does_not_fit", false, refuses_what_does_not_fit}},
      call);
}

}  // namespace casdm::conformance::weight_layouts
