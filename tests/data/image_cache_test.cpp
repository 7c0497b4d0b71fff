#include "framework/data/image_cache.h"

#include <doctest/doctest.h>

#include <new>
#include <thread>

#include "framework/support/sanitizers.h"

using namespace casdm;

TEST_CASE("an image is available once it is written, and stays as it was first written") {
  ImageCache cache(3, 2);
  PreparedImage image;
  CHECK_FALSE(cache.read(1, image));
  cache.write(1, {{7, 8}, 5});
  cache.write(1, {{9, 9}, 6});
  REQUIRE(cache.read(1, image));
  CHECK(image.pixels == std::vector<std::uint8_t>{7, 8});
  CHECK(image.label == 5);
  CHECK_FALSE(cache.read(0, image));
  CHECK_FALSE(cache.read(2, image));
}

TEST_CASE("threads that write and read the same image see it complete or not at all") {
  constexpr std::size_t bytes = 4096;
  ImageCache cache(64, bytes);
  std::vector<int> torn(4);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < torn.size(); ++t) {
    threads.emplace_back([&, t] {
      for (std::int64_t i = 0; i < 64; ++i) {
        cache.write(i, {std::vector<std::uint8_t>(bytes, static_cast<std::uint8_t>(t)), static_cast<std::int64_t>(t)});
        PreparedImage image;
        if (!cache.read(i, image)) continue;
        torn[t] += image.pixels != std::vector<std::uint8_t>(bytes, static_cast<std::uint8_t>(image.label));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(torn == std::vector<int>(4, 0));
}

TEST_CASE("a cache without enough memory fails immediately" * doctest::skip(kIsSanitized)) {
  CHECK_THROWS_AS(ImageCache(std::int64_t{1} << 40, std::size_t{1} << 20), std::bad_alloc);
}
