#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>

#include <optional>

namespace casdm {

/// A copy of a tensor in the host's memory for which the host need not wait at once: a GPU makes it after what is
/// queued already, and what is queued later does not delay it.
class HostCopy {
 public:
  explicit HostCopy(const at::Tensor& source);

  /// Whether `values` need not wait.
  bool is_made() const { return !made_ || made_->query(); }

  /// The values; waits until the copy is made.
  at::Tensor values() const;

 private:
  at::Tensor values_;
  std::optional<c10::Event> made_;  ///< none on the CPU, where nothing is copied
};

}  // namespace casdm
