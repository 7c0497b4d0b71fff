#pragma once

#include <cstdint>

namespace casdm::unet {

/// Added to variances before the root.
inline constexpr double kNormEpsilon = 1e-5;

/// Consecutive whole groups of channels of one channels-last image: loops only, no tensors and no
/// threads. T is float or c10::BFloat16; arithmetic is float32, long sums float64.
template <class T>
struct NormSlice {
  std::int64_t pixels = 0;
  std::int64_t channels = 0;  ///< of the slice
  std::int64_t groups = 1;    ///< of the slice
  std::int64_t stride = 0;    ///< channels of the image: distance from one pixel to the next
  bool silu = false;
  const T* x = nullptr;           ///< first channel of the first pixel
  const float* weight = nullptr;  ///< [channels]
  const float* bias = nullptr;    ///< [channels]
  const float* offset = nullptr;  ///< [channels], or null
  const float* scale = nullptr;   ///< [channels], or null, like `shift`
  const float* shift = nullptr;   ///< [channels]
  float* mean = nullptr;          ///< [groups]
  float* rstd = nullptr;          ///< [groups], 1 / sqrt(variance + eps)
};

/// Destinations for the gradients of a slice, each laid out like the value it belongs to.
template <class T>
struct NormGradients {
  T* x = nullptr;
  float* weight = nullptr;  ///< this image's contribution
  float* bias = nullptr;    ///< this image's contribution
  float* offset = nullptr;  ///< null if the slice has none
  float* scale = nullptr;   ///< null, like `shift`, if the slice has none
  float* shift = nullptr;
};

/// Writes y (laid out like x), mean and rstd.
template <class T>
void norm_forward(const NormSlice<T>& slice, T* y);

/// Computes all gradients from that of y; reads mean and rstd.
template <class T>
void norm_backward(const NormSlice<T>& slice, const T* grad_y, const NormGradients<T>& gradients);

}  // namespace casdm::unet
