#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "casdm/error.h"
#include "framework/data/batch_loader.h"
#include "framework/distributed/batch_share.h"
#include "framework/training/batch_draws.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

class Place final : public World {
 public:
  Place(int rank, int size) : rank_(rank), size_(size) {}
  int rank() const override { return rank_; }
  int size() const override { return size_; }

 private:
  int rank_, size_;
};

TrainOptions batch(std::int64_t size, std::int64_t parts) {
  TrainOptions train;
  train.batch_size = size;
  train.accumulate = parts;
  return train;
}

}  // namespace

TEST_CASE("each process has the same share of a batch, in parts no larger than the experiment's") {
  const BatchShare whole = share_of_batch(batch(12, 4), World::alone());
  CHECK((whole.first == 0 && whole.count == 12 && whole.parts == 4));
  const BatchShare third = share_of_batch(batch(12, 4), Place(2, 3));
  CHECK((third.first == 8 && third.count == 4 && third.parts == 2));
  CHECK(share_of_batch(batch(12, 4), Place(0, 4)).parts == 1);
  CHECK(share_of_batch(batch(12, 1), Place(0, 4)).parts == 1);
  CHECK(share_of_batch(batch(30, 5), Place(1, 2)).parts == 3);
  CHECK(share_of_batch(batch(10, 5), Place(1, 2)).parts == 5);  // five images cannot be divided into three equal parts
}

TEST_CASE("a batch that cannot be shared evenly is refused with sizes that can") {
  CHECK_THROWS_WITH_AS(share_of_batch(batch(10, 1), Place(1, 4)),
                       "train.batch_size = 10 images cannot be shared evenly by the 4 processes of this run; expected "
                       "a multiple of 4, such as 8 or 12",
                       ConfigError);
  CHECK_THROWS_WITH_AS(share_of_batch(batch(2, 1), Place(1, 4)), doctest::Contains("such as 4"), ConfigError);
}

TEST_CASE("the slices of a batch together are the batch") {
  DataOptions options;
  options.dataset = component("dataset", "type = \"shapes\"");
  options.image_size = 8;
  options.use_labels = true;
  options.label_dropout = 0.5;
  options.random_flip = true;
  const auto dataset = make<Dataset>("shapes", "", {});
  BatchLoader whole(dataset, options, 6, 7, 18, {});
  BatchLoader first(dataset, options, {6, 0, 2}, 7, 18, {}), rest(dataset, options, {6, 2, 4}, 7, 18, {});
  for (int i = 0; i < 5; ++i) {
    const ImageBatch all = whole.next(), a = first.next(), b = rest.next();
    CHECK(at::equal(at::cat({a.images, b.images}), all.images));
    CHECK(at::equal(at::cat({a.labels, b.labels}), all.labels));
    CHECK(a.first_position == all.first_position);
    CHECK(b.first_position == all.first_position + 2);
  }
}
