#include "evaluation/judging.h"

#include <ATen/ATen.h>

#include "framework/config/document.h"
#include "framework/config/merge.h"
#include "framework/config/resolve.h"
#include "support/components.h"

namespace casdm::testing {

namespace fs = std::filesystem;

std::shared_ptr<PluginHost> judging_host() {
  static const std::shared_ptr<PluginHost> host = [] {
    SearchPaths search;
    search.files = {fs::path(CASDM_TEST_PLUGIN_DIR) / "judging.so"};
    return std::make_shared<PluginHost>(PluginCatalog::discover(search), std::vector<LockedPlugin>{},
                                        PluginHost::Probing::off);
  }();
  return host;
}

Judges make_judges(const std::string& toml) {
  OptionSchema schema = host_schema();
  std::erase_if(schema, [](const OptionSpec& option) { return option.name != "evaluate"; });
  const Value document = parse_document("[evaluate]\n" + toml + "\n", "test", fs::current_path());
  const Value resolved = resolve(document, schema, judging_host()->catalog());
  return {evaluate_options(resolved), *judging_host(), ImageShape::square(3, 16), c10::Device(c10::kCPU)};
}

at::Tensor some_images(std::int64_t count, std::uint64_t seed) {
  return (fill(seed, {count, 3, 16, 16}) * 127.5 + 127.5).to(at::kByte);
}

ImageStream stream_of_tensor(const at::Tensor& images, const std::string& name) {
  ImageStream stream;
  stream.name = name;
  stream.count = images.size(0);
  stream.shape = ImageShape::square(images.size(1), images.size(2));
  stream.identity.set("name", name);
  stream.read = [images](std::int64_t first, std::int64_t n) { return images.slice(0, first, first + n); };
  return stream;
}

std::string evaluation_file(const std::string& name) { return CASDM_EVALUATION_FILES "/" + name; }

}  // namespace casdm::testing
