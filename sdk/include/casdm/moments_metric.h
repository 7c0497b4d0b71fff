#pragma once

#include <cstdint>

#include "casdm/api.h"
#include "casdm/set_metric.h"

namespace casdm CASDM_API {

/// Mean and covariance of the features of a set of images.
struct Moments {
  Tensor mean;              ///< float64 [D], on the CPU
  Tensor covariance;        ///< float64 [D, D], over N - 1
  std::int64_t images = 0;  ///< N; 0: not known, as in most files of other programs
};

/// A set metric that uses nothing of a set but mean and covariance of its features, as the Fréchet distance does.
///
/// Its reference can therefore come from the statistics files of other programs, which hold just that, and the host can
/// write such files. The host also knows that its scores are biased by the number of images.
class MomentsMetric : public SetMetric {
 public:
  ~MomentsMetric() override;

  /// The state of a set with these moments. Where `images` is 0, of any set that has them.
  virtual NamedTensors from_moments(const Moments& moments) const = 0;

  /// The moments of the set of `state`, which has at least two images.
  virtual Moments moments(const NamedTensors& state) const = 0;
};

}  // namespace casdm
