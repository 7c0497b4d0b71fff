// The CPU time that this process needs to judge images:
//
//     efficientnet_lite0    images of 32 px to pooled features, in batches of 32
//     frechet               adding a batch of 64 images with 2048 features, in ms an image; two states to a distance
//     kernel_distance       10,000 against 10,000 images with 2048 features: 100 subsets of 1000
//     precision_recall      10,000 against 10,000 images with 2048 features, in s, and the memory it takes
//
// The same network in PyTorch: benchmarks/judging.py. One thread:
//
//     OMP_NUM_THREADS=1 judging_benchmark
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <doctest/doctest.h>
#include <sys/resource.h>

#include <cstdio>
#include <ctime>
#include <numeric>
#include <string>

#include "casdm/feature_extractor.h"
#include "casdm/set_metric.h"
#include "support/components.h"

namespace {

using namespace casdm;
using namespace casdm::testing;

double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

/// The maximum memory of this process so far, in MiB.
double peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

FeatureBatch batch_of(const Tensor& features, std::int64_t first) {
  FeatureBatch batch{features, std::vector<std::int64_t>(static_cast<std::size_t>(features.size(0)))};
  std::iota(batch.images.begin(), batch.images.end(), first);
  return batch;
}

std::shared_ptr<SetMetric> metric(const char* name) {
  return make<SetMetric>(name, "", {.feature = {"features", 2048, false}, .seed = 0});
}

void measure_network(std::int64_t images) {
  const auto network = make<FeatureExtractor>("efficientnet_lite0", "resize = \"bilinear\"", {{}, 0});
  const Tensor batch = at::rand({32, 3, 32, 32}) * 2 - 1;
  network->extract(batch, {"pooled"});
  const double start = cpu_seconds();
  for (std::int64_t i = 0; i < images; i += 32) network->extract(batch, {"pooled"});
  const double each = (cpu_seconds() - start) / static_cast<double>(images);
  std::printf("efficientnet_lite0   %8.2f ms an image\n", 1000 * each);
}

void measure_frechet() {
  const auto frechet = metric("frechet");
  NamedTensors a = frechet->start(), b = frechet->start();
  constexpr int kBatches = 40;
  const double start = cpu_seconds();
  for (int i = 0; i < kBatches; ++i) frechet->update(i % 2 == 0 ? a : b, batch_of(at::randn({64, 2048}), 64 * i));
  std::printf("frechet, adding      %8.2f ms an image\n", 1000 * (cpu_seconds() - start) / (64 * kBatches));
  const double before = cpu_seconds();
  frechet->compare(a, b);
  std::printf("frechet, comparing   %8.2f s\n", cpu_seconds() - before);
}

void measure_neighbours() {
  const auto neighbours = metric("precision_recall");
  NamedTensors a = neighbours->start(), b = neighbours->start();
  for (std::int64_t i = 0; i < 10000; i += 500) {
    neighbours->update(a, batch_of(at::randn({500, 2048}), i));
    neighbours->update(b, batch_of(at::randn({500, 2048}), i));
  }
  const double before = peak_memory(), start = cpu_seconds();
  neighbours->compare(a, b);
  std::printf("precision_recall     %8.2f s, %.0f MiB, of which %.0f before\n", cpu_seconds() - start, peak_memory(),
              before);
  const double kernel_start = cpu_seconds();
  metric("kernel_distance")->compare(a, b);  // its state is the same: features of the same number of images
  std::printf("kernel_distance      %8.2f s\n", cpu_seconds() - kernel_start);
}

}  // namespace

TEST_CASE("what judging costs") {
  const at::NoGradGuard no_grad;
  measure_neighbours();
  measure_frechet();
  measure_network(320);
}
