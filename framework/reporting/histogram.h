#pragma once

#include <cstddef>

namespace casdm {

/// metrics.jsonl says under this key how a statistic that lies in [0, 1] is spread: for each quarter of t, least noise
/// first, how many images had it in each of kHistogramBins bins of equal width.
inline constexpr const char* kHistogram = "histogram";
inline constexpr std::size_t kHistogramBins = 20;

}  // namespace casdm
