#include "memory_format.h"

#include <ATen/ATen.h>

namespace casdm::convolution {

at::MemoryFormat chosen(MemoryFormat format, at::MemoryFormat automatic) {
  if (format == MemoryFormat::auto_) return automatic;
  return format == MemoryFormat::contiguous ? at::MemoryFormat::Contiguous : at::MemoryFormat::ChannelsLast;
}

Tensor in_format(const Tensor& x, at::MemoryFormat format, at::ScalarType type) {
  const bool is_so = x.scalar_type() == type && x.is_contiguous(format) && x.suggest_memory_format() == format;
  return is_so ? x : x.to(x.options().dtype(type), /*non_blocking=*/false, /*copy=*/true, format);
}

Tensor in_format(const Tensor& x, at::MemoryFormat format) { return in_format(x, format, x.scalar_type()); }

}  // namespace casdm::convolution
