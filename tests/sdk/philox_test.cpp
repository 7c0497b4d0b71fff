#include "casdm/philox.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <doctest/doctest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "casdm/error.h"
#include "casdm/random.h"
#include "philox_kernels.h"

using namespace casdm;

namespace {

using Words = std::array<std::uint32_t, 4>;

std::vector<std::uint64_t> seeds_from(std::uint64_t first, std::int64_t count) {
  std::vector<std::uint64_t> seeds;
  for (std::int64_t i = 0; i < count; ++i) {
    seeds.push_back(derive_seed(7, "noise", first + static_cast<std::uint64_t>(i)));
  }
  return seeds;
}

/// The words according to the header's formula.
Tensor expected_words(const std::vector<std::uint64_t>& seeds, std::uint64_t stream, std::int64_t count) {
  const Tensor words = at::empty({static_cast<std::int64_t>(seeds.size()), count}, at::kLong);
  for (std::size_t image = 0; image < seeds.size(); ++image) {
    for (std::int64_t i = 0; i < count; ++i) {
      const Words four =
          philox4x32({static_cast<std::uint32_t>(i / 4), 0, static_cast<std::uint32_t>(stream),
                      static_cast<std::uint32_t>(stream >> 32)},
                     {static_cast<std::uint32_t>(seeds[image]), static_cast<std::uint32_t>(seeds[image] >> 32)});
      words[static_cast<std::int64_t>(image)][i] = static_cast<std::int64_t>(four[static_cast<std::size_t>(i % 4)]);
    }
  }
  return words;
}

/// The largest correlation between two different rows.
double largest_correlation(const Tensor& rows) {
  Tensor correlations = at::corrcoef(rows.to(at::kDouble)).abs();
  return correlations.fill_diagonal_(0).max().item<double>();
}

/// The distance between the samples' distribution function and that of N(0, 1).
double kolmogorov_distance(const Tensor& samples) {
  const Tensor sorted = std::get<0>(samples.flatten().to(at::kDouble).sort());
  const std::int64_t n = sorted.size(0);
  const Tensor normal = at::special_ndtr(sorted);
  const Tensor steps = at::arange(n + 1, at::kDouble) / static_cast<double>(n);
  const Tensor below = (normal - steps.narrow(0, 0, n)).abs().max(),
               above = (normal - steps.narrow(0, 1, n)).abs().max();
  return std::max(below.item<double>(), above.item<double>());
}

class Threads {
 public:
  explicit Threads(int count) : before_(at::get_num_threads()) { at::set_num_threads(count); }
  ~Threads() { at::set_num_threads(before_); }

 private:
  int before_;
};

}  // namespace

TEST_CASE("philox gives the known answers of Random123") {
  CHECK(philox4x32({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  const std::uint32_t ones = 0xffffffff;
  CHECK(philox4x32({ones, ones, ones, ones}, {ones, ones}) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("the words computed with tensor operations are philox's, for any seed, stream and count") {
  const std::vector<std::uint64_t> seeds = {0, 1, 0xFFFFFFFFFFFFFFFF, derive_seed(1, "words")};
  for (const std::uint64_t stream : {0ULL, 3ULL, 0xFEDCBA9876543210ULL}) {
    for (const std::int64_t count : {1, 4, 4099}) {
      CHECK(at::equal(philox_words(seeds, stream, count, at::kCPU), expected_words(seeds, stream, count)));
    }
  }
}

TEST_CASE("normals follow from the words by the Box-Muller formula") {
  const std::vector<std::uint64_t> seeds = seeds_from(0, 2);
  const Tensor words = philox_words(seeds, 0, 100002, at::kCPU).to(at::kDouble).unflatten(1, {-1, 2});
  const Tensor radius = (((words.select(2, 0) + 0.5) * 0x1p-32).log() * -2).sqrt();
  const Tensor angle = words.select(2, 1) * (2 * M_PI * 0x1p-32);
  const Tensor expected = at::stack({radius * angle.cos(), radius * angle.sin()}, 2).flatten(1);
  const Tensor normal = normal_like(at::empty({2, 100002}), seeds);
  // A word has 32 bits, a float only 24: near u = 1 the radius, sqrt(2 (1 - u)), is uncertain by sqrt(2^-24).
  const Tensor is_far = (radius > 0.05).unsqueeze(2).expand({2, 50001, 2}).flatten(1);
  CHECK(((normal - expected) * is_far).abs().max().item<double>() < 2e-6);
  CHECK((normal - expected).abs().max().item<double>() < 2.5e-4);
}

TEST_CASE("the smallest and the largest word give finite normals and the documented tail") {
  const Tensor extremes = normal_from_words(at::tensor(std::vector<std::int64_t>{0, 0, 0xFFFFFFFF, 0}, at::kLong));
  CHECK(extremes[0].item<double>() == doctest::Approx(std::sqrt(2 * 33 * std::log(2.0))).epsilon(1e-6));
  CHECK(extremes.isfinite().all().item<bool>());
  CHECK(std::abs(extremes[2].item<double>()) < 4e-4);
}

TEST_CASE("normals have the moments, the distribution and the tails of N(0, 1)") {
  const std::int64_t n = 1 << 22;
  const Tensor z = normal_like(at::empty({4, n / 4}), seeds_from(0, 4)).to(at::kDouble).flatten();
  const auto moment = [&](int order) { return z.pow(order).mean().item<double>(); };
  // Within 4 standard errors, each from the moments of N(0, 1).
  const double root = std::sqrt(static_cast<double>(n));
  CHECK(std::abs(moment(1)) < 4 / root);
  CHECK(std::abs(moment(2) - 1) < 4 * std::sqrt(2.0) / root);
  CHECK(std::abs(moment(3)) < 4 * std::sqrt(15.0) / root);
  CHECK(std::abs(moment(4) - 3) < 4 * std::sqrt(96.0) / root);
  // Exceeds 1.95 / sqrt(n) with probability 0.001.
  CHECK(kolmogorov_distance(z) < 1.95 / root);
  for (const double bound : {3.0, 4.0, 4.5}) {
    const double expected = static_cast<double>(n) * std::erfc(bound / std::sqrt(2.0));
    const auto found = static_cast<double>((z.abs() > bound).sum().item<std::int64_t>());
    CHECK(std::abs(found - expected) < 4 * std::sqrt(expected));
  }
}

TEST_CASE("all instruction sets give the same bits, and tensor operations the same normals") {
  using philox::InstructionSet;
  const std::int64_t n = 10007, pixels = 64, channels = 70;
  const philox::DropoutRule rule{{9, 4}, 1u << 30, 1.25f};
  std::vector<float> x(static_cast<std::size_t>(n), 1.5f);
  std::vector<std::vector<float>> found;
  std::vector<InstructionSet> sets = {InstructionSet::baseline};
  if (philox::best_instruction_set() != InstructionSet::baseline) sets.push_back(InstructionSet::avx2);
  if (philox::best_instruction_set() == InstructionSet::avx512) sets.push_back(InstructionSet::avx512);
  for (const InstructionSet set : sets) {
    std::vector<float> values(static_cast<std::size_t>(2 * n + 4 * channels));
    philox::normal(set, {9, 0}, 0, n, values.data());
    philox::dropout(set, rule, 0, n, x.data(), values.data() + n);
    philox::dropout_channels_last(set, rule, 8, pixels, channels, x.data(), values.data() + 2 * n);
    found.push_back(values);
  }
  for (const std::vector<float>& values : found) {
    CHECK(std::memcmp(values.data(), found.front().data(), values.size() * sizeof(float)) == 0);
  }
  const Tensor portable = normal_from_words(philox_words({9}, 0, n + 1, at::kCPU)).narrow(1, 0, n);
  const Tensor fast = at::from_blob(found.front().data(), {1, n}, at::kFloat);
  // A few units in the last place: LibTorch may contract a multiplication and an addition.
  CHECK((portable - fast).abs().max().item<double>() < 2e-6);
}

TEST_CASE("an image's noise does not depend on batch, threads, memory format or dtype") {
  const Tensor like = at::empty({8, 3, 33, 31});
  const Tensor noise = normal_like(like, seeds_from(100, 8));
  for (std::int64_t i = 0; i < 8; ++i) {
    const auto position = static_cast<std::uint64_t>(100 + i);
    CHECK(at::equal(normal_like(like.narrow(0, i, 1), seeds_from(position, 1)), noise.narrow(0, i, 1)));
  }
  CHECK(at::equal(normal_like(like.narrow(0, 3, 4), seeds_from(103, 4)), noise.narrow(0, 3, 4)));
  const Threads two(2);
  CHECK(at::equal(normal_like(like, seeds_from(100, 8)), noise));
  const Tensor channels_last = normal_like(like.contiguous(at::MemoryFormat::ChannelsLast), seeds_from(100, 8));
  CHECK(at::equal(channels_last, noise));
  CHECK(channels_last.is_contiguous(at::MemoryFormat::ChannelsLast));
  const Tensor doubles = normal_like(like.to(at::kDouble), seeds_from(100, 8));
  CHECK(at::equal(doubles, noise.to(at::kDouble)));
  CHECK(at::equal(normal_like(like.to(at::kBFloat16), seeds_from(100, 8)), noise.to(at::kBFloat16)));
}

TEST_CASE("noise and masks of different positions, seeds and layers are uncorrelated") {
  const std::int64_t n = 1 << 16;
  // 4.5 standard errors, for at most 32 * 31 / 2 pairs.
  const double bound = 4.5 / std::sqrt(static_cast<double>(n));
  CHECK(largest_correlation(normal_like(at::empty({32, n}), seeds_from(0, 32))) < bound);
  std::vector<std::uint64_t> neighbours;
  for (std::uint64_t seed = 0; seed < 32; ++seed) neighbours.push_back(seed);
  CHECK(largest_correlation(normal_like(at::empty({32, n}), neighbours)) < bound);
  const Tensor row = normal_like(at::empty({1, n + 8}), {5})[0];
  std::vector<Tensor> shifted;
  for (std::int64_t lag = 0; lag < 8; ++lag) shifted.push_back(row.narrow(0, lag, n));
  CHECK(largest_correlation(at::stack(shifted)) < bound);
  std::vector<Tensor> masks;
  for (std::uint64_t layer = 0; layer < 8; ++layer) {
    for (const Tensor& mask : Dropout{seeds_from(0, 2)}.apply(at::ones({2, n}), 0.3, layer).unbind()) {
      masks.push_back(mask);
    }
  }
  CHECK(largest_correlation(at::stack(masks)) < bound);
}

TEST_CASE("dropout drops the words below p 2^32 and divides the rest by 1 - p") {
  const std::vector<std::uint64_t> seeds = seeds_from(3, 3);
  const Tensor x = normal_like(at::empty({3, 5, 6, 7}), seeds_from(50, 3));
  for (const double p : {0.1, 0.5, 0.999}) {
    const Tensor kept = expected_words(seeds, 12, 5 * 6 * 7).ge(std::round(p * 0x1p32)).reshape(x.sizes());
    const Tensor expected = at::where(kept, x / (1 - p), 0);
    CHECK(at::allclose(Dropout{seeds}.apply(x, p, 12), expected, 1e-6, 0));
  }
  const Tensor many = Dropout{seeds_from(0, 4)}.apply(at::ones({4, 1 << 18}), 0.1, 1);
  const double n = static_cast<double>(many.numel());
  CHECK(std::abs((many == 0).to(at::kDouble).mean().item<double>() - 0.1) < 4 * std::sqrt(0.09 / n));
  CHECK(many.max().item<float>() == static_cast<float>(1 / 0.9));
}

TEST_CASE("an image's dropout does not depend on batch, threads, memory format or dtype") {
  for (const std::vector<std::int64_t>& size : {std::vector<std::int64_t>{6, 70, 8, 12}, {6, 5, 7, 3}, {6, 3, 1, 1}}) {
    CAPTURE(size);
    const Tensor x = at::ones(size);
    const Tensor expected = Dropout{seeds_from(20, 6)}.apply(x, 0.4, 2);
    CHECK(at::equal(Dropout{seeds_from(22, 3)}.apply(x.narrow(0, 2, 3), 0.4, 2), expected.narrow(0, 2, 3)));
    CHECK_FALSE(at::equal(Dropout{seeds_from(20, 6)}.apply(x, 0.4, 3), expected));
    const Threads two(2);
    CHECK(at::equal(Dropout{seeds_from(20, 6)}.apply(x, 0.4, 2), expected));
    const Tensor channels_last = Dropout{seeds_from(20, 6)}.apply(x.contiguous(at::MemoryFormat::ChannelsLast), 0.4, 2);
    CHECK(at::equal(channels_last, expected));
    CHECK(channels_last.is_contiguous(at::MemoryFormat::ChannelsLast));
    const Tensor spread = at::ones({size[3], size[1], size[2], size[0]}).transpose(0, 3);
    CHECK(at::equal(Dropout{seeds_from(20, 6)}.apply(spread, 0.4, 2), expected));
    for (const at::ScalarType dtype : {at::kBFloat16, at::kHalf, at::kDouble}) {
      const Tensor other = Dropout{seeds_from(20, 6)}.apply(x.to(dtype), 0.4, 2);
      CHECK((other.scalar_type() == dtype));
      CHECK(at::equal(other, expected.to(dtype)));
    }
  }
}

TEST_CASE("the gradient of dropout has its mask, and so does the gradient's gradient") {
  const Dropout dropout{seeds_from(0, 2)};
  const Tensor mask = dropout.apply(at::ones({2, 4, 4, 4}), 0.3, 5);
  const Tensor noise = normal_like(mask, seeds_from(9, 2));
  for (const at::MemoryFormat format : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
    const Tensor x = noise.contiguous(format).requires_grad_(true);
    const Tensor value = dropout.apply(x, 0.3, 5).pow(3).sum();
    const Tensor gradient = torch::autograd::grad({value}, {x}, {}, true, true)[0];
    CHECK(at::allclose(gradient, 3 * mask.pow(3) * noise.pow(2)));
    const Tensor second = torch::autograd::grad({gradient.sum()}, {x})[0];
    CHECK(at::allclose(second, 6 * mask.pow(3) * noise));
  }
}

TEST_CASE("dropout without seeds or with probability 0 returns its argument") {
  const Tensor x = at::ones({2, 8});
  CHECK(Dropout{}.apply(x, 0.5, 1).is_same(x));
  CHECK(Dropout{{1, 2}}.apply(x, 0, 1).is_same(x));
}

TEST_CASE("draws refuse anything but one seed per image, and probabilities of 1 and more") {
  const Tensor x = at::ones({2, 8});
  CHECK_THROWS_WITH_AS(
      normal_like(x, {1}),
      "normal_like takes a floating-point tensor with one seed for each of its images, got Float [2, 8] "
      "and 1 seeds",
      Error);
  CHECK_THROWS_AS(normal_like(at::ones({2, 8}, at::kLong), {1, 2}), Error);
  CHECK_THROWS_AS((Dropout{{1, 2, 3}}.apply(x, 0.5, 0)), Error);
  CHECK_THROWS_WITH_AS((Dropout{{1, 2}}.apply(x, 1, 0)), "dropout with probability 1.0: expected 0 <= p < 1", Error);
}
