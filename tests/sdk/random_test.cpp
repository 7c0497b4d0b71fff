#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <set>

#include "casdm/random.h"

using namespace casdm;

TEST_CASE("splitmix64 gives the published values") {
  // The first outputs of the reference generator with state 1234567, which advances by the increment.
  CHECK(splitmix64(1234567) == 6457827717110365317ULL);
  CHECK(splitmix64(1234567 + 0x9E3779B97F4A7C15ULL) == 3203168211198807973ULL);
}

TEST_CASE("derived seeds differ in seed, purpose and index") {
  std::set<std::uint64_t> seeds;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    for (const char* purpose : {"t", "noise", "dropout/theta", "dropout/phi"}) {
      for (std::uint64_t index = 0; index < 100; ++index) seeds.insert(derive_seed(seed, purpose, index));
    }
  }
  CHECK(seeds.size() == 10 * 4 * 100);
  CHECK(derive_seed(1, "t", 2) == derive_seed(1, "t", 2));
}

TEST_CASE("a permutation contains each index once and depends on the seed") {
  const auto order = permutation(1000, 5);
  CHECK(std::set<std::int64_t>(order.begin(), order.end()).size() == 1000);
  CHECK(order == permutation(1000, 5));
  CHECK(order != permutation(1000, 6));
  CHECK(permutation(1, 0) == std::vector<std::int64_t>{0});
}

TEST_CASE("draws do not touch the global generator") {
  at::manual_seed(3);
  const at::Tensor expected = at::rand({4});
  at::manual_seed(3);
  at::Generator generator = make_generator(9);
  const at::Tensor own = at::empty({4}).normal_(0, 1, generator);
  CHECK(at::equal(at::rand({4}), expected));
  at::Generator again = make_generator(9);
  CHECK(at::equal(at::empty({4}).normal_(0, 1, again), own));
}
