#include "casdm/resize.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <map>
#include <mutex>
#include <string>
#include <tuple>

#include "casdm/on_device.h"

namespace casdm {

namespace {

Tensor by_libtorch(const Tensor& images, at::IntArrayRef size, Interpolation interpolation) {
  switch (interpolation) {
    case Interpolation::area:
      return at::adaptive_avg_pool2d(images, size);
    case Interpolation::bicubic:
      return at::_upsample_bicubic2d_aa(images, size, /*align_corners=*/false);
    case Interpolation::bilinear:
      break;
  }
  return at::_upsample_bilinear2d_aa(images, size, /*align_corners=*/false);
}

/// The weights of `from` input pixels for each of `to` output pixels along an axis: [to, from], like `images`. Computed
/// once and never destroyed, since the device may no longer exist then.
Tensor matrix(std::int64_t from, std::int64_t to, Interpolation interpolation, const Tensor& images) {
  using Key = std::tuple<std::int64_t, std::int64_t, Interpolation, at::ScalarType, std::string>;
  static std::mutex mutex;
  static auto& made = *new std::map<Key, Tensor>;
  const std::lock_guard lock(mutex);
  Tensor& result = made[{from, to, interpolation, images.scalar_type(), images.device().str()}];
  if (result.defined()) return result;
  const at::NoGradGuard no_grad;
  const Tensor each = at::eye(from, at::kDouble).view({1, 1, from, from});
  const Tensor rows = by_libtorch(each, {to, from}, interpolation).view({to, from});
  return result = to_device(rows.to(images.scalar_type()), images.device());
}

}  // namespace

Tensor resized(const Tensor& images, std::int64_t height, std::int64_t width, Interpolation interpolation) {
  if (images.is_cpu()) return by_libtorch(images, {height, width}, interpolation);
  return resized_by_products(images, height, width, interpolation);
}

Tensor resized_by_products(const Tensor& images, std::int64_t height, std::int64_t width, Interpolation interpolation) {
  // Autocast would round the images and the weights of their pixels.
  const c10::impl::ExcludeDispatchKeyGuard as_it_is(c10::autocast_dispatch_keyset);
  const Tensor rows = matrix(images.size(2), height, interpolation, images);
  const Tensor columns = matrix(images.size(3), width, interpolation, images);
  return rows.matmul(images).matmul(columns.t());
}

}  // namespace casdm
