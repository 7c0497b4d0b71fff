#include <doctest/doctest.h>

#include "augmentations/edm.h"
#include "casdm/text.h"
#include "casdm/value.h"
#include "support/golden.h"

namespace casdm {
namespace {

using namespace testing;

// Both resample in fp32, at positions that differ by rounding in the transformation matrix. Steps of [-1, 1] at edges
// amplify this by the slope of the image, at most 2 per pixel.
constexpr double kBound = 1e-5;

/// EDM's pipeline does nothing by default; our defaults do.
std::string toml(const Value& options) {
  std::string lines;
  for (const char* key : {"p", "xflip", "yflip", "scale", "rotate_frac", "aniso", "translate_frac"}) {
    if (options.find(key) == nullptr) lines += text(key, " = ", key == std::string("p") ? 1 : 0, "\n");
  }
  for (const auto& [key, value] : options.as_table()) lines += text(key, " = ", number(value.as_number()), "\n");
  return lines;
}

}  // namespace

TEST_CASE("the pipeline does to an image what EDM's does with the same random numbers") {
  for (const std::filesystem::path& path : golden_files("edm_augmentation", ".safetensors")) {
    const TensorFile file = read_safetensors(path);
    GoldenFile golden(path);
    int cases = 0;
    for (const auto& [name, description] : file.metadata) {
      if (!description.starts_with("{")) continue;
      const Value value = from_json(description);
      const Tensor& images = golden[name + ".images"];
      const auto augmentation = edm(toml(*value.find("options")), images.size(2), images.size(1));
      const Augmented result = augmentation->apply(fill(11, images.sizes()), image_seeds(images.size(0), name));
      golden.compare(result.images, name + ".images", {"edm", "augmented images", "NVlabs/edm", kBound});
      golden.compare(result.labels, name + ".labels", {"edm", "labels of the augmentation", "NVlabs/edm", 1e-6});
      ++cases;
    }
    CHECK(cases > 0);
    golden.finish({".images", ".labels"});
  }
}

}  // namespace casdm
