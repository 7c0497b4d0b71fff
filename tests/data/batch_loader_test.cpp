#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <thread>

#include "casdm/error.h"
#include "casdm/random.h"
#include "framework/data/batch_loader.h"

using namespace casdm;

namespace {

constexpr std::int64_t kSide = 4;

/// Image i has the value i in all pixels but the first column, which is 255; for some indices reading fails.
class Numbered : public Dataset {
 public:
  explicit Numbered(std::int64_t size, std::set<std::int64_t> broken = {}) : size_(size), broken_(std::move(broken)) {}

  std::int64_t size() const override { return size_; }
  std::int64_t num_classes() const override { return size_; }
  std::string describe(std::int64_t index) const override { return "number " + std::to_string(index); }
  Example get(std::int64_t index) const override {
    ++reads;
    // Without the loader's ordering, later images would overtake earlier ones.
    std::this_thread::sleep_for(std::chrono::microseconds(splitmix64(static_cast<std::uint64_t>(index)) % 300));
    if (broken_.contains(index)) throw Error(describe(index) + " cannot be decoded");
    Image image{kSide, kSide, 3, std::vector<std::uint8_t>(kSide * kSide * 3, static_cast<std::uint8_t>(index))};
    for (std::int64_t y = 0; y < kSide; ++y) {
      for (std::int64_t c = 0; c < 3; ++c) image.pixels[static_cast<std::size_t>(y * kSide * 3 + c)] = 255;
    }
    return {image, index};
  }

  mutable std::atomic<int> reads{0};

 private:
  std::int64_t size_;
  std::set<std::int64_t> broken_;
};

DataOptions options_with(std::int64_t workers, CacheMode cache = CacheMode::automatic) {
  DataOptions options;
  options.dataset.type = "numbered";
  options.image_size = kSide;
  options.workers = workers;
  options.cache = cache;
  options.random_flip = true;
  options.use_labels = true;
  return options;
}

/// The labels of `steps` batches, which are the indices of the images; checks that the pixels match.
std::vector<std::int64_t> read(BatchLoader& loader, std::int64_t steps) {
  std::vector<std::int64_t> indices;
  for (std::int64_t step = 0; step < steps; ++step) {
    const ImageBatch batch = loader.next();
    for (std::int64_t i = 0; i < batch.labels.size(0); ++i) {
      indices.push_back(batch.labels[i].item<std::int64_t>());
      CHECK(batch.images[i][1][2][1].item<int>() == indices.back());
    }
  }
  return indices;
}

at::Tensor pixels_of(std::int64_t workers, CacheMode cache, std::int64_t first_position, std::int64_t steps,
                     std::int64_t batch_size = 4) {
  BatchLoader loader(std::make_shared<Numbered>(11), options_with(workers, cache), batch_size, 5, first_position,
                     nullptr);
  std::vector<at::Tensor> images;
  for (std::int64_t step = 0; step < steps; ++step) images.push_back(loader.next().images);
  return at::cat(images);
}

}  // namespace

TEST_CASE("the stream consists of one random permutation per epoch, one after another") {
  BatchLoader loader(std::make_shared<Numbered>(10), options_with(3), 4, 42, 0, nullptr);
  const std::vector<std::int64_t> indices = read(loader, 10);
  for (std::int64_t epoch = 0; epoch < 4; ++epoch) {
    const auto begin = indices.begin() + epoch * 10;
    CHECK(std::vector<std::int64_t>(begin, begin + 10) ==
          permutation(10, derive_seed(42, "order", static_cast<std::uint64_t>(epoch))));
  }
}

TEST_CASE("a batch may be larger than the data set") {
  BatchLoader loader(std::make_shared<Numbered>(3), options_with(2), 8, 1, 0, nullptr);
  const std::vector<std::int64_t> indices = read(loader, 3);
  for (std::size_t epoch = 0; epoch < 8; ++epoch) {
    CHECK(std::set<std::int64_t>(indices.begin() + epoch * 3, indices.begin() + epoch * 3 + 3).size() == 3);
  }
}

TEST_CASE("threads, cache, batch size and starting position do not change the stream") {
  const at::Tensor expected = pixels_of(1, CacheMode::never, 0, 20);
  for (const std::int64_t workers : {1, 2, 7}) {
    for (const CacheMode cache : {CacheMode::automatic, CacheMode::always, CacheMode::never}) {
      CHECK(at::equal(pixels_of(workers, cache, 0, 20), expected));
      CHECK(at::equal(pixels_of(workers, cache, 13 * 4, 7), expected.slice(0, 13 * 4)));
      CHECK(at::equal(pixels_of(workers, cache, 37, 5, 3), expected.slice(0, 37, 37 + 15)));
      CHECK(at::equal(pixels_of(workers, cache, 1, 2, 30), expected.slice(0, 1, 61)));
    }
  }
}

TEST_CASE("batches of another size continue with the same image") {
  const at::Tensor expected = pixels_of(2, CacheMode::automatic, 0, 10);
  BatchLoader loader(std::make_shared<Numbered>(11), options_with(2), 6, 5, 10, nullptr);
  for (std::int64_t first = 10; first < 34; first += 6) {
    const ImageBatch batch = loader.next();
    CHECK(batch.first_position == first);
    CHECK(at::equal(batch.images, expected.narrow(0, first, 6)));
  }
}

TEST_CASE("flips depend on seed and position and happen to half of the images") {
  const at::Tensor images = pixels_of(2, CacheMode::automatic, 0, 250);
  const at::Tensor flipped = images.select(3, kSide - 1).select(2, 0).select(1, 0).eq(255);
  for (std::int64_t position = 0; position < 1000; ++position) {
    REQUIRE(flipped[position].item<bool>() ==
            (uniform(derive_seed(5, "flip", static_cast<std::uint64_t>(position))) < 0.5));
  }
  // 1000 fair coins: mean 500, standard deviation 16; four of them.
  CHECK(std::abs(flipped.sum().item<std::int64_t>() - 500) < 64);
}

TEST_CASE("a batch knows its position") {
  BatchLoader loader(std::make_shared<Numbered>(10), options_with(2), 4, 1, 25, nullptr);
  CHECK(loader.next().first_position == 25);
  const ImageBatch batch = loader.next();
  CHECK(batch.first_position == 29);
  CHECK(batch.images.sizes() == at::IntArrayRef({4, 3, kSide, kSide}));
  CHECK((batch.images.scalar_type() == at::kByte));
  CHECK((batch.labels.scalar_type() == at::kLong));
}

TEST_CASE("without use_labels there are no labels") {
  DataOptions options = options_with(2);
  options.use_labels = false;
  BatchLoader loader(std::make_shared<Numbered>(10), options, 4, 1, 0, nullptr);
  CHECK_FALSE(loader.next().labels.defined());
}

TEST_CASE("the cache reads each image once") {
  const auto dataset = std::make_shared<Numbered>(10);
  {
    BatchLoader loader(dataset, options_with(1, CacheMode::always), 4, 1, 0, nullptr);
    read(loader, 50);
  }
  CHECK(dataset->reads == 10);
}

TEST_CASE("decoding runs ahead of training, but not far") {
  const auto dataset = std::make_shared<Numbered>(1000);
  BatchLoader loader(dataset, options_with(2, CacheMode::never), 10, 1, 0, nullptr);
  loader.next();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  CHECK(dataset->reads > 10);
  CHECK(dataset->reads <= 40);
}

TEST_CASE("an unreadable image stops its batch, every time") {
  const std::vector<std::int64_t> order = permutation(20, derive_seed(3, "order", 0));
  const auto dataset = std::make_shared<Numbered>(20, std::set<std::int64_t>{order[9], order[10]});
  BatchLoader loader(dataset, options_with(4), 4, 3, 0, nullptr);
  read(loader, 2);
  const std::string expected = "numbered: " + dataset->describe(order[9]) + " cannot be decoded";
  for (int time = 0; time < 2; ++time) CHECK_THROWS_WITH_AS(loader.next(), expected.c_str(), Error);
}

TEST_CASE("skip_unreadable takes the next readable image, names the skipped one once and counts them after an epoch") {
  DataOptions options = options_with(3, CacheMode::never);
  options.skip_unreadable = true;
  options.random_flip = false;
  std::vector<std::string> warnings;
  BatchLoader loader(std::make_shared<Numbered>(6, std::set<std::int64_t>{2, 4, 5}), options, 6, 9, 0,
                     [&](const std::string& line) { warnings.push_back(line); });
  const std::vector<std::int64_t> indices = read(loader, 4);
  const std::int64_t replacement[] = {0, 1, 3, 3, 0, 0};
  for (std::size_t epoch = 0; epoch < 4; ++epoch) {
    const std::vector<std::int64_t> order = permutation(6, derive_seed(9, "order", epoch));
    for (std::size_t i = 0; i < 6; ++i) CHECK(indices[epoch * 6 + i] == replacement[order[i]]);
  }
  loader.summarise();
  std::sort(warnings.begin(), warnings.end());
  CHECK(warnings == std::vector<std::string>{"left out 3 of 6 images: 3 cannot be decoded",
                                             "skipped an image: numbered: number 2 cannot be decoded",
                                             "skipped an image: numbered: number 4 cannot be decoded",
                                             "skipped an image: numbered: number 5 cannot be decoded"});
}

TEST_CASE("a training that ends within an epoch gets the summary of what was left out on request") {
  DataOptions options = options_with(1, CacheMode::never);
  options.skip_unreadable = true;
  const std::int64_t first = permutation(100, derive_seed(9, "order", 0))[0];
  std::vector<std::string> warnings;
  BatchLoader loader(std::make_shared<Numbered>(100, std::set<std::int64_t>{first}), options, 2, 9, 0,
                     [&](const std::string& line) { warnings.push_back(line); });
  loader.next();
  CHECK(warnings.size() == 1);
  loader.summarise();
  REQUIRE(warnings.size() == 2);
  CHECK(warnings[1] == "left out 1 of 100 images: 1 cannot be decoded");
}

TEST_CASE("the summary of a part of each batch does not count images that other processes read") {
  DataOptions options = options_with(1, CacheMode::never);
  options.skip_unreadable = true;
  const std::vector<std::int64_t> order = permutation(100, derive_seed(9, "order", 0));
  std::vector<std::string> warnings;
  BatchLoader loader(std::make_shared<Numbered>(100, std::set<std::int64_t>{order[0], order[2]}), options, {4, 2, 2}, 9,
                     0, [&](const std::string& line) { warnings.push_back(line); });
  loader.next();
  loader.summarise();
  REQUIRE(warnings.size() == 2);
  CHECK(warnings[1] == "left out 1 of the images that this process has read: 1 cannot be decoded");
}

TEST_CASE("an empty data set, missing labels and two channels are refused") {
  CHECK_THROWS_AS(BatchLoader(std::make_shared<Numbered>(0), options_with(1), 1, 1, 0, nullptr), ConfigError);
  DataOptions options = options_with(1);
  options.channels = 2;
  CHECK_THROWS_AS(BatchLoader(std::make_shared<Numbered>(1), options, 1, 1, 0, nullptr), ConfigError);
  class Unlabelled : public Numbered {
   public:
    using Numbered::Numbered;
    std::int64_t num_classes() const override { return 0; }
  };
  CHECK_THROWS_AS(BatchLoader(std::make_shared<Unlabelled>(1), options_with(1), 1, 1, 0, nullptr), ConfigError);
}

TEST_CASE("labels are dropped with the given probability, by position, and nothing else changes") {
  const std::int64_t count = 40;
  const auto loaded = [&](double probability, std::int64_t workers, std::int64_t first_step) {
    DataOptions options = options_with(workers);
    options.label_dropout = probability;
    BatchLoader loader(std::make_shared<Numbered>(count), options, 50, 5, first_step * 50, nullptr);
    std::vector<at::Tensor> images, labels;
    for (std::int64_t step = first_step; step < 80; ++step) {
      const ImageBatch batch = loader.next();
      images.push_back(batch.images);
      labels.push_back(batch.labels);
    }
    return std::pair(at::cat(images), at::cat(labels));
  };
  const auto [images, labels] = loaded(0, 3, 0);
  const auto [same_images, dropped] = loaded(0.2, 2, 0);
  CHECK(at::equal(images, same_images));
  const at::Tensor is_null = dropped.eq(count);
  CHECK(at::equal(dropped.masked_select(is_null.logical_not()), labels.masked_select(is_null.logical_not())));
  // 4,000 draws: a standard deviation of 0.0063.
  CHECK(is_null.to(at::kDouble).mean().item<double>() == doctest::Approx(0.2).epsilon(0.1));
  CHECK(at::equal(loaded(0.2, 1, 30).second, dropped.slice(0, 30 * 50)));
  CHECK(loaded(1, 1, 70).second.eq(count).all().item<bool>());
}

TEST_CASE("a stream cannot start before its first image") {
  CHECK_THROWS_WITH_AS(
      BatchLoader(std::make_shared<Numbered>(11), options_with(1, CacheMode::never), 4, 5, -4, nullptr),
      doctest::Contains("cannot start at position -4"), Error);
}

TEST_CASE("waiting for a batch can be cancelled, before and while waiting") {
  class Stuck : public Numbered {
   public:
    Stuck() : Numbered(10) {}
    Example get(std::int64_t index) const override {
      const std::lock_guard lock(closed);
      return Numbered::get(index);
    }
    mutable std::mutex closed;
  };
  const auto dataset = std::make_shared<Stuck>();
  std::unique_lock lock(dataset->closed);
  BatchLoader loader(dataset, options_with(2), 4, 1, 0, nullptr);
  CHECK_FALSE(loader.wait([] { return true; }));
  int asked = 0;
  CHECK_FALSE(loader.wait([&] { return ++asked == 3; }));
  CHECK(asked == 3);
  lock.unlock();
  CHECK(loader.wait([] { return false; }));
  CHECK(loader.next().images.size(0) == 4);
}
