#include "framework/device/copy_stream.h"

#include <ATen/ATen.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "casdm/on_device.h"

namespace casdm {

CopyStream::CopyStream(c10::Device device) : device_(device) {
  if (!device.is_cpu()) stream_ = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
}

at::Tensor CopyStream::to_device(const at::Tensor& x) const {
  if (!stream_ || !x.is_cpu()) return casdm::to_device(x, device_);
  const c10::Stream computing = c10::impl::VirtualGuardImpl(device_.type()).getStream(device_);
  c10::Event is_made(device_.type());
  at::Tensor copy;
  {
    const c10::StreamGuard guard(*stream_);
    copy = casdm::to_device(x, device_);
    is_made.record(*stream_);
  }
  is_made.block(computing);
  copy.record_stream(computing);  // or its memory could be used for the next copy while it is still read
  return copy;
}

}  // namespace casdm
