// The speed of a metric, forward and backward, with the target prepared anew each time, as in training:
//
//     metric_benchmark NAME SIZE BATCH SECONDS THREADS
//
// Prints the rates of some intervals, in images per second, as one line of JSON. cpu/compare.py runs it beside peers.
#define DOCTEST_CONFIG_IMPLEMENT
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "benchmarks/rates.h"
#include "casdm/metric_loss.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::benchmarks;

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fputs("usage: metric_benchmark NAME SIZE BATCH SECONDS THREADS\n", stderr);
    return 2;
  }
  const std::int64_t size = std::atol(argv[2]), batch = std::atol(argv[3]);
  const double seconds = std::atof(argv[4]);
  at::set_num_threads(std::atoi(argv[5]));
  const auto metric = testing::make<MetricLoss>(argv[1], "", {ImageShape::square(3, size)});
  const Tensor target = at::rand({batch, 3, size, size}) * 2 - 1;
  Tensor image = (at::rand({batch, 3, size, size}) * 2 - 1).requires_grad_();
  const auto step = [&] {
    image.mutable_grad() = Tensor();
    (*metric)(image, target).mean().backward();
  };
  for (const Clock::time_point start = Clock::now(); seconds_since(start) < seconds / 4;) step();
  std::vector<double> rates;
  for (const Clock::time_point begin = Clock::now(); seconds_since(begin) < seconds;) {
    const Clock::time_point start = Clock::now();
    std::int64_t images = 0;
    for (; seconds_since(start) < seconds / 6; images += batch) step();
    rates.push_back(static_cast<double>(images) / seconds_since(start));
  }
  print_rates(rates);
}
