#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "casdm/api.h"

namespace casdm CASDM_API {

using at::Tensor;

/// While this object lives, what is queued on a GPU is recorded, to be replayed later for other images: the framework
/// makes one around the losses and gradients of a training step.
///
/// A replay does not run the code again, so that the host's values stay those of the recording. Therefore
/// `to_device` refuses tensors of the CPU with an Error, and so do dropout and `normal_like` with seeds that are not
/// given here. There is one such object at a time.
class Recording {
 public:
  /// The seeds of a batch, and their copy on the device, int64 [B], whose values change before each replay.
  struct Seeds {
    std::vector<std::uint64_t> on_host;
    Tensor on_device;
  };

  explicit Recording(std::vector<Seeds> seeds);
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  /// The object that lives, in whatever thread; null: none.
  static const Recording* current();

  /// The device's copy of `seeds`. Throws Error if they are not among those given.
  Tensor on_device(const std::vector<std::uint64_t>& seeds) const;

 private:
  std::vector<Seeds> seeds_;
};

}  // namespace casdm
