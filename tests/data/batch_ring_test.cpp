#include "framework/data/batch_ring.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <future>
#include <thread>

#include "casdm/error.h"

using namespace casdm;

namespace {

/// One grey pixel each, with a label; two batches ahead.
DataOptions options() {
  DataOptions options;
  options.image_size = 1;
  options.channels = 1;
  options.use_labels = true;
  options.workers = 1;
  return options;
}

/// Fills `count` places with their positions, later ones first.
void fill(BatchRing& ring, std::int64_t count) {
  std::vector<BatchRing::Place> places;
  for (std::int64_t i = 0; i < count; ++i) places.push_back(ring.claim().value());
  for (auto place = places.rbegin(); place != places.rend(); ++place) {
    *place->pixels = static_cast<std::uint8_t>(place->position);
    *place->label = place->position;
    ring.settle(place->position, nullptr);
  }
}

}  // namespace

TEST_CASE("batches come in the order of the stream from any position, in whatever order they are filled") {
  BatchRing ring(options(), 3, 7);
  for (std::int64_t first = 7; first < 40; first += 3) {
    fill(ring, 3);
    ring.wait();
    const ImageBatch batch = ring.take();
    CHECK(batch.first_position == first);
    CHECK(at::equal(batch.labels, at::arange(first, first + 3, at::kLong)));
    CHECK(at::equal(batch.images.flatten(), at::arange(first, first + 3, at::kByte)));
  }
}

TEST_CASE("claiming waits until there is room, and stop() ends the wait") {
  BatchRing ring(options(), 2, 0);
  fill(ring, 4);
  std::promise<std::int64_t> second;
  bool is_stopped = false;
  std::thread filler([&] {
    ring.claim();
    second.set_value(ring.claim().value().position);
    is_stopped = !ring.claim().has_value();
  });
  ring.wait();
  ring.take();
  CHECK(second.get_future().get() == 5);
  ring.stop();
  filler.join();
  CHECK(is_stopped);
  CHECK_FALSE(ring.claim().has_value());
}

TEST_CASE("of several failures in a batch the one with the lowest position is thrown, every time") {
  BatchRing ring(options(), 4, 0);
  for (int i = 0; i < 4; ++i) ring.claim();
  for (const std::int64_t position : {3, 1, 2, 0}) {
    const auto failure = std::make_exception_ptr(Error("image " + std::to_string(position)));
    ring.settle(position, position == 0 ? nullptr : failure);
  }
  ring.wait();
  for (int time = 0; time < 2; ++time) CHECK_THROWS_WITH_AS(ring.take(), "image 1", Error);
}
