#pragma once

#include <cstddef>

namespace casdm {

/// The key in metrics.jsonl for the distribution of a statistic in [0, 1]: for each quarter of t, least noise first,
/// the number of images in each of kHistogramBins bins of equal width.
inline constexpr const char* kHistogram = "histogram";
inline constexpr std::size_t kHistogramBins = 20;

}  // namespace casdm
