#include "framework/device/host_copy.h"

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace casdm {

HostCopy::HostCopy(const at::Tensor& source) : values_(source) {
  if (source.is_cpu()) return;
  // Only into pinned memory does a GPU copy while the host goes on.
  values_ = at::empty(source.sizes(), source.options().device(at::kCPU).pinned_memory(true));
  values_.copy_(source, /*non_blocking=*/true);
  made_.emplace(source.device().type());
  made_->record(c10::impl::VirtualGuardImpl(source.device().type()).getStream(source.device()));
}

at::Tensor HostCopy::values() const {
  if (made_) made_->synchronize();
  return values_;
}

}  // namespace casdm
