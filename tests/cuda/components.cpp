#include "cuda/components.h"

#include <cstdlib>
#include <map>

#include "casdm/metric_loss.h"
#include "casdm/safetensors.h"
#include "casdm/text.h"
#include "framework/loading/discovery.h"
#include "metrics/lpips_weights.h"

namespace casdm::testing {

std::vector<std::string> component_names(std::string_view kind) { return PluginCatalog::discover({}).names(kind); }

std::vector<std::string> settings_with(const std::string& table, const std::string& name) {
  // Paths whose times are not whole numbers; theta of the cascade predicts noise, so some signal must be left.
  const std::string flow = "noise={type=\"flow\", t_max=0.999}", edm = "noise={type=\"edm\"}";
  const std::string trailing = "sampler={type=\"ddim\", spacing=\"trailing\", num_inference_steps=2}";
  const std::string karras = "sampler={type=\"heun\", spacing=\"karras\", num_inference_steps=2}";
  if (name == "flow") return {flow, trailing};
  if (table == "noise" && name == "edm") return {edm, karras};
  std::vector<std::string> result = {table + "={type=\"" + name + "\"}"};
  if (table == "optimizer" || table == "noise") result = {table + ".type=" + name};
  if (name == "log_normal") result.insert(result.end(), {edm, karras});
  if (table == "augmentation") result.emplace_back("data.random_flip=false");
  return result;
}

MetricUses::MetricUses() {
  write_safetensors(weights_.path() / "lpips_vgg16.safetensors", lpips_state("vgg16"));
  write_safetensors(weights_.path() / "dists_vgg16.safetensors", dists_state());
  ::setenv("CASDM_WEIGHTS_PATH", weights_.path().c_str(), 1);
}

std::vector<std::string> MetricUses::tables() const {
  const std::map<std::string, std::string> needs = {
      {"sum", ", terms = [{type = \"ssim\"}, {type = \"gradient\", weight = 0.5}]"},
      {"resized", ", size = 24, metric = {type = \"ssim\"}"},
      {"feature_distance", ", extractor = {type = \"pixels\"}"},
      {"feature_frechet", ", extractor = {type = \"pixels\", size = 4}"},
      {"feature_mmd", ", extractor = {type = \"pixels\", size = 4}"},
      {"patch", ", size = 16, metric = {type = \"ssim\", kernel_size = 7}"}};
  std::vector<std::string> tables;
  for (const std::string& name : component_names(MetricLoss::kind)) {
    const auto own = needs.find(name);
    tables.push_back(text("type = \"", name, "\"", own == needs.end() ? "" : own->second));
  }
  tables.emplace_back("type = \"resized\", size = 16, mode = \"area\", metric = {type = \"l2\"}");
  tables.emplace_back("type = \"resized\", size = 20, mode = \"bicubic\", metric = {type = \"l2\"}");
  tables.emplace_back("type = \"l1\", resize = 12");
  tables.emplace_back("type = \"l1\", resize = 40");
  // Odd sides, which are extended.
  tables.emplace_back("type = \"dct\", resize = 19");
  tables.emplace_back("type = \"wavelet\", resize = 19");
  tables.emplace_back("type = \"l1\", t_range = [0.2, 0.6], t_weight = \"alpha_bar\"");
  return tables;
}

}  // namespace casdm::testing
