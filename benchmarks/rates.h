#pragma once

#include <chrono>
#include <cstdio>
#include <vector>

namespace casdm::benchmarks {

using Clock = std::chrono::steady_clock;

inline double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Images per second of some intervals, as the line of JSON that cpu/compare.py reads.
inline void print_rates(const std::vector<double>& rates) {
  std::printf("{\"rates\": [");
  for (std::size_t i = 0; i < rates.size(); ++i) std::printf("%s%.6g", i == 0 ? "" : ", ", rates[i]);
  std::puts("]}");
}

}  // namespace casdm::benchmarks
