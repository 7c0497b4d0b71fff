#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <set>

#include "casdm/backbone.h"
#include "casdm/error.h"
#include "casdm/safetensors.h"
#include "casdm/text.h"
#include "casdm/weight_layout.h"
#include "framework/config/document.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

Backbone::Spec square_spec(std::int64_t size, std::int64_t in = 3, std::int64_t out = 3, std::int64_t classes = 0) {
  Backbone::Spec spec;
  spec.image.height = spec.image.width = size;
  spec.image.channels = in;
  spec.out_channels = out;
  spec.condition.num_classes = classes;
  return spec;
}

std::set<std::string> shapes_of(const NamedTensors& tensors) {
  std::set<std::string> result;
  for (const auto& [name, tensor] : tensors) result.insert(text(name, " ", tensor.sizes()));
  return result;
}

std::shared_ptr<WeightLayout> adm_layout(std::int64_t image_size) {
  return make<WeightLayout>("adm", "attention_order = \"legacy\"\n", {image_size});
}

/// The options that names and shapes of a U-Net with these options show; a network with them must have the same state.
Value round_trip(const std::string& options, const Backbone::Spec& spec) {
  CAPTURE(options);
  const ForeignWeights weights{state(*make<Backbone>("unet", options, spec)), {}};
  const auto layout = adm_layout(spec.image.height);
  const LayoutMatch match = layout->recognise(weights);
  REQUIRE_MESSAGE(match.confidence == 1, match.difference);
  const BackboneWeights told = layout->read(weights);
  CHECK(told.spec.image.channels == spec.image.channels);
  CHECK(told.spec.out_channels == spec.out_channels);
  CHECK(told.spec.image.height == spec.image.height);
  CHECK(told.spec.condition.num_classes == spec.condition.num_classes);
  CHECK(told.spec.condition.augment_size == spec.condition.augment_size);
  const std::string groups = options.find("groups = 8") != std::string::npos ? "groups = 8\n" : "";
  const auto again = make<Backbone>("unet", to_toml(told.options) + groups, told.spec);
  CHECK(shapes_of(state(*again)) == shapes_of(weights.tensors));
  return told.options;
}

std::string toml_of(const Value& options, const char* key) { return to_toml_value(*options.find(key)); }

}  // namespace

TEST_CASE("the options of a U-Net are read from its names and shapes") {
  const std::string base = "groups = 8\nchannels = 16\n";
  const Value plain =
      round_trip(base + "channel_mult = [1, 2]\nnum_res_blocks = 1\nattention_resolutions = [8]\n", square_spec(16));
  CHECK(toml_of(plain, "channels") == "16");
  CHECK(toml_of(plain, "channel_mult") == "[1.0, 2.0]");
  CHECK(toml_of(plain, "attention_resolutions") == "[8]");
  CHECK(toml_of(plain, "num_res_blocks") == "1");
  CHECK(toml_of(plain, "use_scale_shift_norm") == "true");
  CHECK(toml_of(plain, "conv_resample") == "true");
  CHECK(toml_of(plain, "resblock_updown") == "false");
  CHECK(toml_of(plain, "attention_order") == "\"legacy\"");

  const std::string deep = base + "channel_mult = [1, 1, 2.5]\nnum_res_blocks = 3\n";
  const Value added = round_trip(deep + "attention_resolutions = []\nuse_scale_shift_norm = false\n", square_spec(16));
  CHECK(toml_of(added, "num_res_blocks") == "3");
  CHECK(toml_of(added, "use_scale_shift_norm") == "false");
  const std::string updown = "resblock_updown = true\n";
  CHECK(toml_of(round_trip(deep + "attention_resolutions = [16, 4]\n" + updown, square_spec(16, 1, 2, 7)),
                "resblock_updown") == "true");
  CHECK(toml_of(round_trip(deep + "attention_resolutions = [8]\nconv_resample = false\n", square_spec(16)),
                "conv_resample") == "false");
  CHECK(toml_of(round_trip(deep + "attention_resolutions = []\n" + updown, square_spec(16)), "resblock_updown") ==
        "true");
  const Value single =
      round_trip(base + "channel_mult = [2]\nnum_res_blocks = 4\nattention_resolutions = [8]\n", square_spec(8));
  CHECK(toml_of(single, "num_res_blocks") == "4");
  CHECK(toml_of(single, "channel_mult") == "[2.0]");
  CHECK(
      toml_of(round_trip(base + "channel_mult = [1]\nnum_res_blocks = 1\nattention_resolutions = []\n", square_spec(8)),
              "num_res_blocks") == "1");
}

TEST_CASE("a U-Net with augmentation labels is recognised, too") {
  Backbone::Spec spec = square_spec(16, 3, 3, 4);
  spec.condition.augment_size = 9;
  round_trip("groups = 8\nchannels = 16\nchannel_mult = [1, 2]\nnum_res_blocks = 1\nattention_resolutions = [8]\n",
             spec);
}

TEST_CASE("the options of guided-diffusion's golden networks are read exactly") {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(parity_dir())) {
    if (!entry.path().filename().string().starts_with("adm_")) continue;
    ++count;
    CAPTURE(entry.path().filename().string());
    const TensorFile golden = read_safetensors(entry.path());
    const Value config = from_json(golden.metadata.at("config"));
    const std::int64_t size = config.find("image_size")->as_integer();
    const auto flag = [&](const char* name, bool otherwise) {
      const Value* value = config.find(name);
      return value != nullptr ? value->as_boolean() : otherwise;
    };
    Value options{Value::Table{}};
    options.set("channels", *config.find("model_channels"));
    options.set("channel_mult", *config.find("channel_mult"));
    options.set("num_res_blocks", *config.find("num_res_blocks"));
    Value::Array attention;
    std::int64_t rate = 1;
    for (std::size_t level = 0; level < config.find("channel_mult")->as_array().size(); ++level, rate *= 2) {
      for (const Value& given : config.find("attention_resolutions")->as_array()) {
        if (given.as_integer() == rate) attention.emplace_back(size / rate);
      }
    }
    options.set("attention_resolutions", attention);
    options.set("use_scale_shift_norm", flag("use_scale_shift_norm", false));
    options.set("resblock_updown", flag("resblock_updown", false));
    const Value* classes = config.find("num_classes");
    const Backbone::Spec spec = square_spec(size, 3, config.find("out_channels")->as_integer(),
                                            classes != nullptr && classes->is_integer() ? classes->as_integer() : 0);
    const NamedTensors tensors = state(*make<Backbone>("unet", to_toml(options), spec));
    std::set<std::string> names, golden_names;
    for (const auto& [name, tensor] : tensors) names.insert(name);
    const Value golden_keys = from_json(golden.metadata.at("state_keys"));
    for (const Value& name : golden_keys.as_array()) golden_names.insert(name.as_string());
    CHECK(names == golden_names);

    const Value told = adm_layout(size)->read({tensors, {}}).options;
    for (const auto& [name, value] : options.as_table()) {
      const auto number_text = [](const Value& v) { return to_json(v); };
      if (name == "channel_mult") {
        for (std::size_t i = 0; i < value.as_array().size(); ++i) {
          CHECK(value.as_array()[i].as_number() == told.find(name)->as_array()[i].as_number());
        }
      } else {
        CHECK_MESSAGE(number_text(value) == number_text(*told.find(name)), name);
      }
    }
  }
  CHECK(count >= 3);
}

TEST_CASE("a state that is almost such a network is not mistaken for one") {
  const NamedTensors whole = state(*make<Backbone>(
      "unet", "groups = 8\nchannels = 16\nchannel_mult = [1, 2]\nnum_res_blocks = 1\nattention_resolutions = [8]\n",
      square_spec(16)));
  const auto layout = adm_layout(16);
  const auto refuse = [&](const NamedTensors& tensors, const std::string& what) {
    const ForeignWeights weights{tensors, {}};
    CHECK_MESSAGE(layout->recognise(weights).confidence == 0, what);
    CHECK_THROWS_AS(layout->read(weights), Error);
    return layout->recognise(weights).difference;
  };
  for (std::size_t i = 0; i < whole.size(); ++i) {
    NamedTensors without = whole;
    without.erase(without.begin() + static_cast<std::ptrdiff_t>(i));
    refuse(without, whole[i].first);
    NamedTensors reshaped = whole;
    reshaped[i].second = at::zeros({5});
    refuse(reshaped, whole[i].first);
  }
  NamedTensors more = whole;
  more.emplace_back("map_augment.weight", at::zeros({1}));
  CHECK(refuse(more, "one more") == "such a network has no \"map_augment.weight\"");
  CHECK(refuse({}, "nothing").empty());
  refuse({{"time_embed.0.weight", at::empty({0, std::int64_t{1} << 62})}}, "a huge width");
}
