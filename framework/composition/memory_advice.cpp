#include "framework/composition/memory_advice.h"

#include "casdm/text.h"
#include "framework/support/memory.h"
#include "framework/support/number_format.h"

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

void require_memory_for_batch(const Experiment& options, std::int64_t images, c10::Device device) {
  // Two batches are read ahead; the images, the noise and their mixture are floats.
  constexpr double kBytes = 2, kFloats = 3 * sizeof(float);
  const DataOptions& data = options.data;
  const auto elements = static_cast<double>(data.channels * data.image_size * data.image_size);
  const double needed = static_cast<double>(images) * elements * (device.is_cpu() ? kBytes + kFloats : kBytes);
  const auto free = static_cast<double>(free_memory());
  if (needed <= free) return;
  throw OutOfMemory(text("out of memory: the images of a batch need at least ", size_text(needed), "; ",
                         size_text(free), " are free"));
}

}  // namespace casdm
