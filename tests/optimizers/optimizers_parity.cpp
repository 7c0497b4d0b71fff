#include <doctest/doctest.h>

#include <map>

#include "casdm/error.h"
#include "casdm/text.h"
#include "casdm/value.h"
#include "framework/config/document.h"
#include "optimizers/parameters.h"
#include "support/golden.h"

// Goldens of torch.optim: optimizers*.safetensors.
using namespace casdm;
using namespace casdm::testing;

namespace {

constexpr double kBound = 1e-5;  // two fp32 implementations that round in different places

const std::vector<Shape> kShapes = {
    {"wide", {6, 10}}, {"tall", {9, 4}}, {"conv", {5, 3, 3, 3}}, {"gain", {7}}, {"bias", {7}}};

/// The peer's class by our name, and its argument names by ours if they differ.
const std::map<std::string, std::string> kTypes = {
    {"AdamW", "adamw"}, {"Adam", "adam"}, {"SGD", "sgd"}, {"Muon", "muon"}};
const std::map<std::string, std::string> kOptions = {{"adjust_lr_fn", "scale"}, {"ns_steps", "iterations"}};

std::string our_options(const Value& theirs) {
  std::string toml;
  for (const auto& [name, value] : theirs.as_table()) {
    const auto ours = kOptions.find(name);
    toml += text(ours == kOptions.end() ? name : ours->second, " = ", to_toml_value(value), "\n");
  }
  return toml;
}

}  // namespace

TEST_CASE("each optimiser's weights after some steps are torch.optim's") {
  for (const auto& path : golden_files("optimizers", ".safetensors")) {
    GoldenFile file(path);
    const Value cases = from_json(file.metadata("cases"));
    for (const Value& given : cases.as_array()) {
      const std::string key = given.find("key")->as_string();
      const auto type = kTypes.find(given.find("class")->as_string());
      if (type == kTypes.end()) throw Error(text("there is no ", given.find("class")->as_string(), " here"));
      const Optimizer::Spec spec = filled_parameters(kShapes);
      const auto optimizer = make<Optimizer>(type->second, our_options(*given.find("options")), spec);
      take_steps(*optimizer, spec, static_cast<int>(given.find("steps")->as_integer()), given.find("lr")->as_number());
      for (const OptimizedParameter& parameter : spec.parameters) {
        file.compare(parameter.weight, key + "." + parameter.name,
                     {type->second, "weights after a few steps", "torch", kBound});
      }
    }
    file.finish({""});
  }
}
