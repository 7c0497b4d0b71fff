// The speed of loading: training images decoded, cut, resized and put into batches, without a cache:
//
//     loading_benchmark DATASET PATH SIZE BATCH SECONDS WORKERS
//
// Prints the rates of some epochs, in images per second, as one line of JSON. cpu/compare.py runs it beside
// torchvision's.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "benchmarks/rates.h"
#include "casdm/dataset.h"
#include "framework/data/batch_loader.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::benchmarks;

int main(int argc, char** argv) {
  if (argc != 7) {
    std::fputs("usage: loading_benchmark DATASET PATH SIZE BATCH SECONDS WORKERS\n", stderr);
    return 2;
  }
  const std::int64_t batch = std::atol(argv[4]);
  const double seconds = std::atof(argv[5]);
  DataOptions options;
  options.image_size = std::atol(argv[3]);
  options.cache = CacheMode::never;
  options.workers = std::atol(argv[6]);
  const std::shared_ptr<Dataset> images = testing::make<Dataset>(argv[1], "path = '" + std::string(argv[2]) + "'",
                                                                 {ImageShape::square(3, options.image_size)});
  BatchLoader loader(images, options, batch, 0, 0, nullptr);
  const std::int64_t batches = images->size() / batch;
  std::vector<double> rates;
  const Clock::time_point begin = Clock::now();
  while (rates.size() < 3 || seconds_since(begin) < seconds) {
    const Clock::time_point start = Clock::now();
    for (std::int64_t i = 0; i < batches; ++i) loader.next();
    rates.push_back(static_cast<double>(batches * batch) / seconds_since(start));
  }
  rates.erase(rates.begin());  // of the epoch in which memory and files were first touched
  print_rates(rates);
}
