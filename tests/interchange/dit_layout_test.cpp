#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <doctest/doctest.h>

#include <map>

#include "casdm/backbone.h"
#include "casdm/error.h"
#include "casdm/safetensors.h"
#include "casdm/text.h"
#include "casdm/weight_layout.h"
#include "framework/config/document.h"
#include "integration/program.h"
#include "interchange/layouts.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

/// DiTs that DiTTransformer2DModel can represent.
std::vector<NetworkCase> dits() {
  const std::string base = "time_frequencies = \"diffusers\"\n";
  return {
      {"dit_classes", "patch = 4\nwidth = 16\ndepth = 2\nnum_heads = 2\n" + base, spec_of(3, 6, 11)},
      {"dit_unconditional", "patch = 2\nwidth = 24\ndepth = 1\nnum_heads = 3\nmlp_norm_eps = 1e-5\n" + base,
       spec_of(1, 1, 0)},
      {"dit_pixels", "patch = 16\nwidth = 16\ndepth = 3\nnum_heads = 1\n" + base, spec_of(3, 3, 4)},
  };
}

std::shared_ptr<WeightLayout> layout(const char* name = "diffusers_dit") { return make<WeightLayout>(name, "", {}); }

/// Like `golden_model`, with the embeddings of all blocks equal to the first's.
ForeignWeights golden_dit(const Value& golden) {
  ForeignWeights model = golden_model(golden);
  const std::map<std::string, Tensor> tensors(model.tensors.begin(), model.tensors.end());
  for (auto& [name, tensor] : model.tensors) {
    const auto at = name.find(".norm1.emb.");
    if (at != std::string::npos) tensor.copy_(tensors.at("transformer_blocks.0" + name.substr(at)));
    if (name.ends_with("embedding_table.weight") && tensor.size(0) == 1) tensor.zero_();  // there are no classes
  }
  return model;
}

}  // namespace

TEST_CASE("an imported DiTTransformer2DModel of diffusers computes what diffusers computes") {
  const fs::path file = parity_dir() / "diffusers_dit.safetensors";
  if (!fs::exists(file)) {
    MESSAGE("no ", file.string(), ": diffusers' DiT is not compared");
    return;
  }
  const at::NoGradGuard no_grad;
  const TensorFile golden = read_safetensors(file);
  const Value cases = from_json(golden.metadata.at("cases"));
  REQUIRE_FALSE(cases.as_array().empty());
  for (const Value& item : cases.as_array()) {
    const std::string key = item.find("key")->as_string();
    CAPTURE(key);
    const ForeignWeights peer = golden_dit(item);
    const BackboneWeights model = layout()->read(peer);
    Condition condition;
    if (model.spec.condition.num_classes > 0) condition.labels = golden.at(key + ".y");
    const Tensor out = network_of("dit", model)->forward(golden.at(key + ".x"), golden.at(key + ".t"), condition);
    const double difference = max_relative_difference(out, golden.at(key + ".out"));
    MESSAGE(key, ": largest relative difference ", difference);
    CHECK(difference < 1e-5);
    // And back: the same tensors, and a config that describes the same network.
    const ForeignWeights back = layout()->write(model);
    check_equal(back.tensors, peer.tensors);
    CHECK(to_toml(layout()->read(back).options) == to_toml(model.options));
  }
}

TEST_CASE("a DiT is exported to diffusers and imported again, bitwise, and computes the same") {
  const at::NoGradGuard no_grad;
  for (const NetworkCase& network : dits()) {
    CAPTURE(network.name);
    const BackboneWeights own = weights_of("dit", network);
    const BackboneWeights back = layout()->read(layout()->write(own));
    check_equal(back.tensors, own.tensors);
    CHECK(back.spec.condition.num_classes == network.spec.condition.num_classes);
    Condition condition;
    if (network.spec.condition.num_classes > 0) condition.labels = at::arange(1, 3, at::kLong);
    const Tensor x = fill(3, {2, network.spec.image.channels, 16, 16}), t = at::arange(2, at::kFloat) * 300;
    CHECK(
        at::equal(network_of("dit", back)->forward(x, t, condition), filled("dit", network)->forward(x, t, condition)));
  }
}

TEST_CASE("a file with DiT's own names shows all but what leaves no trace, and is not mistaken for another network") {
  const NetworkCase network = dits().front();
  const BackboneWeights own = weights_of("dit", network);
  ForeignWeights file = layout("dit")->write(own);
  CHECK(layout("dit")->recognise(file).confidence == 1);
  CHECK(layout("adm")->recognise(file).confidence == 0);
  const BackboneWeights read = layout("dit")->read(file);
  CHECK(read.spec.image == ImageShape::square(3, 16));
  CHECK(read.options.find("num_heads")->as_integer() == 2);
  CHECK(read.options.find("mlp_ratio")->as_number() == 4);
  CHECK(read.remarks.empty());
  file.recorded = Value(Value::Table{});
  const std::vector<std::string> remarks = layout("dit")->read(file).remarks;
  REQUIRE(remarks.size() == 1);
  CHECK(remarks.front().find("num_heads") != std::string::npos);
  file.tensors.emplace_back("blocks.7.more", at::zeros({1}));
  const LayoutMatch almost = layout("dit")->recognise(file);
  CHECK(almost.confidence == 0);
  CHECK(almost.difference.find("such a network has no \"blocks.7.more\"") != std::string::npos);
}

TEST_CASE("what DiTTransformer2DModel cannot represent is refused with every reason") {
  const auto refused = [](const std::string& options, std::vector<const char*> reasons,
                          ImageShape image = {3, 16, 16}) {
    NetworkCase network{"", "patch = 4\nwidth = 16\ndepth = 2\nnum_heads = 2\n" + options, spec_of(3, 3, 0)};
    network.spec.image = image;
    const BackboneWeights weights = weights_of("dit", network);
    for (const char* why : reasons) CHECK_THROWS_WITH_AS(layout()->write(weights), doctest::Contains(why), ConfigError);
  };
  refused("mlp_ratio = 2\nskips = true\n", {"mlp_ratio is not 4", "it has skips", "time_frequencies is"});
  refused("bottleneck = 8\n", {"it has a bottleneck"});
  refused("", {"its 8 patches do not make a square"}, {3, 8, 16});
}

TEST_CASE("a model of diffusers that is not such a DiT is refused with every reason") {
  const ForeignWeights good = layout()->write(weights_of("dit", dits().front()));
  const auto refused = [&](const char* key, const Value& value, const char* why) {
    ForeignWeights bad = good;
    bad.config.set(key, value);
    CAPTURE(key);
    CHECK_THROWS_WITH_AS(layout()->read(bad), doctest::Contains(why), Error);
  };
  refused("norm_type", "ada_norm", "norm_type is \"ada_norm\", not \"ada_norm_zero\"");
  refused("activation_fn", "geglu", "activation_fn");
  refused("attention_bias", false, "attention_bias is false");
  refused("patch_size", 64, "patch_size is 64, out of range");
  refused("sample_size", 18, "sample_size 18 is not divisible by patch_size 4");
  refused("num_layers", 3, "has no tensor transformer_blocks.2");
  refused("num_layers", std::int64_t{1} << 40, "num_layers");
  refused("num_layers", 1, "a tensor too many");
  refused("attention_head_dim", 16, "expected [32, 3, 4, 4]");
  refused("num_attention_heads", "many", "num_attention_heads is \"many\", not a whole number");
  refused("sample_size", Value::Array{16, 8}, "sample_size is [16,8], not a whole number");
  ForeignWeights square = good;
  const std::int64_t side = good.config.find("sample_size")->as_integer();
  square.config.set("sample_size", Value::Array{side, side});
  CHECK(layout()->read(square).spec.image.height == side);
  ForeignWeights other = good;
  for (auto& [name, tensor] : other.tensors) {
    if (name.starts_with("transformer_blocks.1.norm1.emb.")) tensor = tensor + 1;
  }
  CHECK_THROWS_WITH_AS(layout()->read(other), doctest::Contains("in each block by itself"), Error);
}

TEST_CASE("a trained DiT is exported in both layouts and imported, bitwise") {
  const TemporaryFolder folder;
  write_small_config(folder.path());
  const auto run = [&](const std::string& line) {
    const Outcome outcome = shell(line, folder.path());
    REQUIRE_MESSAGE(outcome.status == 0, line << "\n" << outcome.err);
    return outcome.out;
  };
  run("casdm train small.toml --set 'head={type=\"single\", theta={type=\"dit\", patch=4, width=16, depth=2, "
      "num_heads=2, time_frequencies=\"diffusers\"}}'");
  run("casdm export runs/small --module theta --out theta.safetensors");
  run("casdm import theta.safetensors --out again.safetensors");
  run("casdm export runs/small --module theta --out theta --layout diffusers_dit");
  const std::string said = run("casdm import theta --out back.safetensors");
  CHECK(said.find("num_heads = 2") != std::string::npos);
  const TensorFile own = read_safetensors(folder.path() / "theta.safetensors");
  for (const char* name : {"again", "back"}) {
    const TensorFile other = read_safetensors(folder.path() / (std::string(name) + ".safetensors"));
    CHECK(other.metadata.at("option.num_heads") == "2");
    CHECK(other.tensors.size() == own.tensors.size());
    for (const auto& [tensor, value] : own.tensors) CHECK_MESSAGE(at::equal(other.at(tensor), value), tensor);
  }
}

TEST_CASE("exports of DiTs for diffusers itself to load, where CASDM_EXPORT_DIR asks for them") {
  export_for_diffusers("dit", *layout(), dits(), true);
}
