#include "framework/distributed/batch_share.h"

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

BatchShare share_of_batch(const TrainOptions& train, const World& world) {
  const std::int64_t size = world.size();
  if (train.batch_size % size != 0) {
    const std::int64_t below = train.batch_size / size * size;
    throw WorldConfigError(text("train.batch_size = ", train.batch_size, " images cannot be shared evenly by the ",
                                size, " processes of this run; expected a multiple of ", size, ", such as ",
                                below > 0 ? text(below, " or ", below + size) : text(size)));
  }
  const std::int64_t count = train.batch_size / size;
  std::int64_t parts = (train.accumulate + size - 1) / size;
  while (count % parts != 0) ++parts;
  return {world.rank() * count, count, parts};
}

}  // namespace casdm
