#include "typed_kernel.h"

#include "casdm/text.h"

namespace casdm::convolution {

BlockKernel typed_kernel(const std::string& name, at::ScalarType type, const std::string& source, int phases) {
  const bool is_float = type == at::kFloat;
  const std::string own_name = name + (is_float ? "_float" : "_bfloat16");
  return {own_name,
          text("using Value = ", is_float ? "float" : "BFloat16", ";\n", source, "template <int kPhase> void ",
               own_name, "(const Block& block) { ", name, "<kPhase>(block); }\n"),
          phases};
}

}  // namespace casdm::convolution
