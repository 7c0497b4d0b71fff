#include "framework/composition/memory_advice.h"

#include "casdm/text.h"

namespace casdm {

std::string memory_advice(const Experiment& options) {
  std::string result =
      text(". To need less, use a smaller train.batch_size (", options.train.batch_size, ") or data.image_size (",
           options.data.image_size, "), a larger train.accumulate (", options.train.accumulate,
           "; a batch is computed in as many parts), smaller networks or less of ",
           "what the options of the component keep that is named here, if one is");
  if (!is_half(options.run.precision)) {
    result += text(", run.precision = \"bf16\" (\"", to_string(options.run.precision), "\")");
  }
  if (options.data.cache != CacheMode::never) {
    result += text(", data.cache = \"never\" (\"", to_string(options.data.cache), "\" keeps decoded images in memory)");
  }
  return result;
}

}  // namespace casdm
