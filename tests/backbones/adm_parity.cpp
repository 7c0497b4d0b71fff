#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <sstream>
#include <vector>

#include "backbones/networks.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "casdm/value.h"
#include "support/golden.h"

// Goldens of guided-diffusion's UNetModel: adm_*.safetensors, made with the deterministic fill.
using namespace casdm;
using namespace casdm::testing;

namespace {

/// The peer's config in our terms: options of `unet` as TOML, and the spec.
struct Configuration {
  std::string options;
  Backbone::Spec spec;
};

Quantity quantity(const std::string& name, double bound = 1e-5) { return {"unet", name, "guided-diffusion", bound}; }

/// [1, 2, 2], or guided-diffusion's command-line form of it, "1,2,2".
std::vector<double> numbers(const Value& value) {
  std::vector<double> result;
  if (value.is_string()) {
    std::istringstream words(value.as_string());
    for (std::string word; std::getline(words, word, ',');) result.push_back(std::stod(word));
    return result;
  }
  for (const Value& element : value.as_array()) result.push_back(element.as_number());
  return result;
}

std::string list(const std::vector<double>& values) {
  std::vector<std::string> parts;
  for (const double value : values) parts.push_back(number(value));
  return "[" + join(parts, ", ") + "]";
}

/// The peer specifies downsampling rates and ignores those that never occur; ours are in pixels and must occur.
std::string attention_pixels(const std::vector<double>& rates, std::int64_t image_size, std::size_t levels) {
  std::vector<std::string> pixels;
  for (const double value : rates) {
    const auto rate = static_cast<std::int64_t>(value);
    bool occurs = false;
    for (std::size_t level = 0; level < levels; ++level) occurs = occurs || rate == std::int64_t{1} << level;
    if (occurs) pixels.push_back(std::to_string(image_size / rate));
    if (!occurs) MESSAGE("attention at rate ", rate, " never occurs, in the peer either");
  }
  return "[" + join(pixels, ", ") + "]";
}

void expect(const std::string& key, bool holds) {
  if (!holds) throw Error("the golden's config has a " + key + " that the U-Net does not have");
}

/// Translates UNetModel's arguments, and those of guided-diffusion's create_model that differ from them. Throws Error
/// for an unknown key: a case must not pass because an option was left out.
Configuration translate(const Value& config) {
  Configuration result;
  std::vector<double> rates;
  std::vector<double> mult{1, 2, 4, 8};
  std::map<std::string, std::string> options{{"channels", "0"},
                                             {"attention_order", "\"legacy\""},
                                             {"num_heads", "1"},
                                             {"use_scale_shift_norm", "false"},
                                             {"num_res_blocks", "0"}};
  const auto integer = [&](const char* name) {
    return [&options, name](const Value& v) { options[name] = std::to_string(v.as_integer()); };
  };
  const auto boolean = [&](const char* name) {
    return [&options, name](const Value& v) { options[name] = v.as_boolean() ? "true" : "false"; };
  };
  const std::map<std::string, std::function<void(const Value&)>> known{
      {"image_size", [&](const Value& v) { result.spec.image.height = result.spec.image.width = v.as_integer(); }},
      {"in_channels", [&](const Value& v) { result.spec.image.channels = v.as_integer(); }},
      {"out_channels", [&](const Value& v) { result.spec.out_channels = v.as_integer(); }},
      {"num_classes", [&](const Value& v) { result.spec.condition.num_classes = v.is_null() ? 0 : v.as_integer(); }},
      {"class_cond", [&](const Value& v) { result.spec.condition.num_classes = v.as_boolean() ? 1000 : 0; }},
      {"learn_sigma", [&](const Value& v) { result.spec.out_channels = v.as_boolean() ? 6 : 3; }},
      {"model_channels", integer("channels")},
      {"num_channels", integer("channels")},
      {"num_res_blocks", integer("num_res_blocks")},
      {"attention_resolutions", [&](const Value& v) { rates = numbers(v); }},
      {"channel_mult", [&](const Value& v) { mult = numbers(v); }},
      {"dropout", [&](const Value& v) { options["dropout"] = number(v.as_number()); }},
      {"conv_resample", boolean("conv_resample")},
      {"num_heads", integer("num_heads")},
      {"num_head_channels", integer("num_head_channels")},
      {"num_heads_upsample", integer("num_heads_upsample")},
      {"use_scale_shift_norm", boolean("use_scale_shift_norm")},
      {"resblock_updown", boolean("resblock_updown")},
      {"use_new_attention_order",
       [&](const Value& v) { options["attention_order"] = v.as_boolean() ? "\"new\"" : "\"legacy\""; }},
      {"use_checkpoint", boolean("checkpoint")},
      {"use_fp16", [](const Value& v) { expect("use_fp16", !v.as_boolean()); }},
      {"dims", [](const Value& v) { expect("dims", v.as_integer() == 2); }},
  };
  for (const auto& [key, value] : config.as_table()) {
    const auto handler = known.find(key);
    if (handler == known.end()) throw Error("unknown key '" + key + "' in the golden's config");
    handler->second(value);
  }
  options["channel_mult"] = list(mult);
  options["attention_resolutions"] = attention_pixels(rates, result.spec.image.height, mult.size());
  for (const auto& [key, value] : options) result.options += key + " = " + value + "\n";
  return result;
}

/// The number of names that only one of the two has, or 1 if the numbers of parameters differ.
double state_difference(const Backbone& network, const GoldenFile& golden) {
  std::set<std::string> missing;
  const Value keys = from_json(golden.metadata("state_keys"));
  for (const Value& key : keys.as_array()) missing.insert(key.as_string());
  std::vector<std::string> unexpected;
  std::int64_t count = 0;
  for (const auto& [name, value] : state(network)) {
    if (missing.erase(name) == 0) unexpected.push_back(name);
    count += value.numel();
  }
  CHECK(join({missing.begin(), missing.end()}, ", ") == "");
  CHECK(join(unexpected, ", ") == "");
  CHECK(std::to_string(count) == golden.metadata("num_parameters"));
  const bool counts_agree = std::to_string(count) == golden.metadata("num_parameters");
  return static_cast<double>(missing.size() + unexpected.size()) + (counts_agree ? 0 : 1);
}

/// Gradient norms by the parameters' names. Some gradients are 0 up to rounding (a bias before a norm of single
/// channels): for these the scale is the float32 rounding in sums of the largest gradients.
void compare_gradient_norms(const Backbone& network, const Evaluation& result, const GoldenFile& golden) {
  const Value norms = from_json(golden.metadata("grad_norms"));
  const NamedTensors parameters = network.parameters();
  CHECK(norms.as_table().size() == parameters.size());
  double largest = 0;
  for (const auto& [name, norm] : norms.as_table()) largest = std::max(largest, norm.as_number());
  const double rounding = std::numeric_limits<float>::epsilon() * largest / 1e-5;
  const Quantity norm_quantity = quantity("gradient norm of every parameter");
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Value* norm = norms.find(parameters[i].first);
    if (norm == nullptr) throw Error("the golden has no gradient norm of " + parameters[i].first);
    const double expected = norm->as_number();
    const double got = result.gradients[i + 1].norm().item<double>();
    const double difference =
        std::isfinite(got) ? std::abs(got - expected) / (expected + rounding) : std::numeric_limits<double>::infinity();
    measured(norm_quantity, golden.version("guided-diffusion"), golden.name() + ": grad_norms " + parameters[i].first,
             difference);
  }
}

void compare(GoldenFile& golden) {
  const Configuration configuration = translate(from_json(golden.metadata("config")));
  const auto network = make<Backbone>("unet", configuration.options, configuration.spec);
  measured(quantity("state names, number of parameters", 0), golden.version("guided-diffusion"),
           golden.name() + ": state", state_difference(*network, golden));
  fill_state(state(*network));
  network->train(false);
  Condition condition;
  if (golden.contains("y")) condition.labels = golden["y"];
  const Input input{golden["x"], golden["t"].to(at::kFloat), golden["out_grad"]};
  const Evaluation result = evaluate(*network, input, condition);
  golden.compare(result.out, "out", quantity("output"));
  golden.compare(result.gradients[0], "x_grad", quantity("gradient of the input"));
  compare_gradient_norms(*network, result, golden);
  golden.finish({""});
}

}  // namespace

TEST_CASE("the U-Net agrees with guided-diffusion's") {
  for (const auto& path : golden_files("adm_", ".safetensors")) {
    INFO(path.filename().string());
    GoldenFile golden(path);
    // An exception fails only this file's check; the others still run.
    try {
      compare(golden);
    } catch (const Error& error) {
      FAIL_CHECK(std::string(error.what()));
    }
  }
}

TEST_CASE("guided-diffusion's command-line arguments mean the same networks") {
  const auto options = [](const char* json) { return translate(from_json(json)); };
  const Configuration a = options(
      R"({"image_size": 16, "num_channels": 64, "num_res_blocks": 1, "channel_mult": "1,2", "attention_resolutions": "2,8",
          "class_cond": true, "learn_sigma": true})");
  const Configuration b = options(
      R"({"image_size": 16, "model_channels": 64, "num_res_blocks": 1, "channel_mult": [1, 2], "attention_resolutions": [2],
          "num_classes": 1000, "out_channels": 6})");
  CHECK(a.options == b.options);
  CHECK(a.spec.condition.num_classes == b.spec.condition.num_classes);
  CHECK(a.spec.out_channels == b.spec.out_channels);
}

TEST_CASE("a golden with an unknown key in its config is an error, not skipped") {
  Value config = from_json(R"({"image_size": 16, "model_channels": 32, "num_res_blocks": 1})");
  CHECK_NOTHROW(translate(config));
  config.set("use_flash", true);
  CHECK_THROWS_WITH(translate(config), doctest::Contains("use_flash"));
}
