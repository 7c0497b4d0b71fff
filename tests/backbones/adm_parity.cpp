#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <vector>

#include "backbones/networks.h"
#include "casdm/error.h"
#include "casdm/safetensors.h"
#include "casdm/text.h"
#include "casdm/value.h"

// Goldens of guided-diffusion's UNetModel: adm_*.safetensors, made with the deterministic fill.
using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

/// The peer's config in our terms: options of `unet` as TOML, and the spec.
struct Configuration {
  std::string options;
  Backbone::Spec spec;
};

std::string number_list(const Value& values) {
  std::vector<std::string> parts;
  for (const Value& value : values.as_array()) parts.push_back(number(value.as_number()));
  return "[" + join(parts, ", ") + "]";
}

/// The peer gives rates of down-sampling, and ignores those that never occur; ours are pixels, and must occur.
std::string attention_pixels(const Value& rates, std::int64_t image_size, std::size_t levels) {
  std::vector<std::string> pixels;
  for (const Value& value : rates.as_array()) {
    const std::int64_t rate = value.as_integer();
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

/// Throws Error on a key it does not know: a case must not pass because an option was left out.
Configuration translate(const Value& config) {
  Configuration result;
  Value rates{Value::Array{}};
  Value mult{Value::Array{1, 2, 4, 8}};
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
      {"image_size", [&](const Value& v) { result.spec.image_size = v.as_integer(); }},
      {"in_channels", [&](const Value& v) { result.spec.in_channels = v.as_integer(); }},
      {"out_channels", [&](const Value& v) { result.spec.out_channels = v.as_integer(); }},
      {"num_classes", [&](const Value& v) { result.spec.num_classes = v.is_null() ? 0 : v.as_integer(); }},
      {"model_channels", integer("channels")},
      {"num_res_blocks", integer("num_res_blocks")},
      {"attention_resolutions", [&](const Value& v) { rates = v; }},
      {"channel_mult", [&](const Value& v) { mult = v; }},
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
  options["channel_mult"] = number_list(mult);
  options["attention_resolutions"] = attention_pixels(rates, result.spec.image_size, mult.as_array().size());
  for (const auto& [key, value] : options) result.options += key + " = " + value + "\n";
  return result;
}

void check_state(const Backbone& network, const TensorFile& golden) {
  const Value keys = from_json(golden.metadata.at("state_keys"));
  std::set<std::string> missing;
  for (const Value& key : keys.as_array()) missing.insert(key.as_string());
  std::vector<std::string> unexpected;
  std::int64_t count = 0;
  for (const auto& [name, value] : state(network)) {
    if (missing.erase(name) == 0) unexpected.push_back(name);
    count += value.numel();
  }
  CHECK(join({missing.begin(), missing.end()}, ", ") == "");
  CHECK(join(unexpected, ", ") == "");
  CHECK(std::to_string(count) == golden.metadata.at("num_parameters"));
}

/// The largest difference of a gradient norm from the peer's. Some gradients are 0 but for rounding (a bias
/// before a norm of single channels): there the scale is what float32 rounds in sums of the largest ones.
double gradient_difference(const Backbone& network, const Evaluation& result, const TensorFile& golden) {
  const Value norms = from_json(golden.metadata.at("grad_norms"));
  const NamedTensors parameters = network.parameters();
  CHECK(norms.as_table().size() == parameters.size());
  double largest = 0;
  for (const auto& [name, norm] : norms.as_table()) largest = std::max(largest, norm.as_number());
  const double rounding = std::numeric_limits<float>::epsilon() * largest / 1e-5;
  double worst = 0;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Value* norm = norms.find(parameters[i].first);
    if (norm == nullptr) throw Error("the golden has no gradient norm of " + parameters[i].first);
    const double expected = norm->as_number();
    const double got = result.gradients[i + 1].norm().item<double>();
    worst = std::max(worst, std::isfinite(got) ? std::abs(got - expected) / (expected + rounding)
                                               : std::numeric_limits<double>::infinity());
  }
  return worst;
}

std::vector<fs::path> golden_files() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(parity_dir())) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("adm_") && entry.path().extension() == ".safetensors") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

void compare(const TensorFile& golden) {
  const Configuration configuration = translate(from_json(golden.metadata.at("config")));
  const auto network = make<Backbone>("unet", configuration.options, configuration.spec);
  check_state(*network, golden);
  fill_state(state(*network));
  network->train(false);
  Condition condition;
  if (golden.contains("y")) condition.labels = golden.at("y");
  const Input input{golden.at("x"), golden.at("t").to(at::kFloat), golden.at("out_grad")};
  const Evaluation result = evaluate(*network, input, condition);
  const double out = max_relative_difference(result.out, golden.at("out"));
  const double x_grad = max_relative_difference(result.gradients[0], golden.at("x_grad"));
  const double gradients = gradient_difference(*network, result, golden);
  MESSAGE("largest relative difference: output ", out, ", input gradient ", x_grad, ", gradient norms ", gradients);
  CHECK(out < 1e-5);
  CHECK(x_grad < 1e-5);
  CHECK(gradients < 1e-5);
}

}  // namespace

TEST_CASE("the U-Net agrees with guided-diffusion's") {
  const std::vector<fs::path> files = golden_files();
  MESSAGE(files.size(), " goldens in ", parity_dir().string());
  REQUIRE_FALSE(files.empty());
  for (const fs::path& file : files) {
    INFO(file.filename().string());
    MESSAGE(file.filename().string());
    const TensorFile golden = read_safetensors(file);
    compare(golden);
  }
}

TEST_CASE("a golden with an unknown key in its config is not skipped") {
  Value config = from_json(R"({"image_size": 16, "model_channels": 32, "num_res_blocks": 1})");
  CHECK_NOTHROW(translate(config));
  config.set("use_flash", true);
  CHECK_THROWS_WITH(translate(config), doctest::Contains("use_flash"));
}
