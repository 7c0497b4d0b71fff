#include "norm_kernels.h"

#include <c10/util/BFloat16.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

// The loops run over neighbouring channels, so that the compiler can vectorise them: no two arrays of a loop overlap.
// They are compiled for AVX2 and for the baseline; which is used is decided at run time.
#define CASDM_INLINE inline __attribute__((always_inline))
#if defined(__GNUC__) && !defined(__clang__)
#define CASDM_INDEPENDENT _Pragma("GCC ivdep")
#else
#define CASDM_INDEPENDENT
#endif
#if defined(__x86_64__)
#define CASDM_AVX2 __attribute__((target("avx2,fma")))
#endif

namespace casdm::unet {
namespace {

/// Pixels summed in float32 before the sum is added in float64.
constexpr std::int64_t kBlock = 64;

/// e^x to about 1e-7 relative for |x| <= 87, and clamped to that range: a polynomial on [-ln 2 / 2, ln 2 / 2] (the
/// coefficients of Cephes' expf) times a power of two. The clamping is done on integers, since the compiler turns
/// comparisons of floats into branches, and loops with branches stay scalar.
CASDM_INLINE float exponential(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the rounded integer in the low bits
  constexpr std::int32_t kMagnitude = 0x7FFFFFFF;
  const auto bits = std::bit_cast<std::int32_t>(x);
  x = std::bit_cast<float>(std::min(bits & kMagnitude, std::bit_cast<std::int32_t>(87.0f)) | (bits & ~kMagnitude));
  const float rounded = x * 1.44269504088896341f + kRound;
  const float n = rounded - kRound;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const float mantissa = p * (r * r) + r + 1.0f;
  const float power = std::bit_cast<float>((std::bit_cast<std::uint32_t>(rounded) << 23) + (127u << 23));
  return mantissa * power;
}

CASDM_INLINE float sigmoid(float z) { return 1.0f / (1.0f + exponential(-z)); }

/// Arrays with one value per channel of a slice.
class Scratch {
 public:
  explicit Scratch(std::int64_t channels) : channels_(channels), floats_(6 * channels), doubles_(2 * channels) {}
  float* floats(int row) { return floats_.data() + row * channels_; }
  double* doubles(int row) { return doubles_.data() + row * channels_; }

  /// Adds the float32 sums in rows 0 and 1 to the float64 ones and clears them.
  CASDM_INLINE void flush() {
    for (std::int64_t c = 0; c < 2 * channels_; ++c) {
      doubles_[c] += floats_[c];
      floats_[c] = 0.0f;
    }
  }

 private:
  std::int64_t channels_;
  std::vector<float> floats_;
  std::vector<double> doubles_;
};

/// Mean and rstd of each group. Channel sums are relative to the channel's first value, which avoids cancellation in
/// the difference of squares if the mean is far from zero.
template <class T>
CASDM_INLINE void moments(const NormSlice<T>& s, Scratch& scratch) {
  float* __restrict sum = scratch.floats(0);
  float* __restrict square = scratch.floats(1);
  float* __restrict origin = scratch.floats(2);
  for (std::int64_t c = 0; c < s.channels; ++c) origin[c] = static_cast<float>(s.x[c]);
  for (std::int64_t begin = 0; begin < s.pixels; begin += kBlock) {
    const std::int64_t end = std::min(begin + kBlock, s.pixels);
    for (std::int64_t p = begin; p < end; ++p) {
      const T* __restrict x = s.x + p * s.stride;
      CASDM_INDEPENDENT
      for (std::int64_t c = 0; c < s.channels; ++c) {
        const float d = static_cast<float>(x[c]) - origin[c];
        sum[c] += d;
        square[c] += d * d;
      }
    }
    scratch.flush();
  }
  if (s.offset) {
    for (std::int64_t c = 0; c < s.channels; ++c) origin[c] += s.offset[c];
  }
  const std::int64_t width = s.channels / s.groups;
  const auto pixels = static_cast<double>(s.pixels);
  for (std::int64_t g = 0; g < s.groups; ++g) {
    double mean = 0.0;
    for (std::int64_t c = g * width; c < (g + 1) * width; ++c) mean += origin[c] + scratch.doubles(0)[c] / pixels;
    mean /= static_cast<double>(width);
    double variance = 0.0;
    for (std::int64_t c = g * width; c < (g + 1) * width; ++c) {
      const double about = scratch.doubles(0)[c] / pixels;
      const double offset = origin[c] + about - mean;
      variance += scratch.doubles(1)[c] / pixels - about * about + offset * offset;
    }
    variance = std::max(variance / static_cast<double>(width), 0.0);
    s.mean[g] = static_cast<float>(mean);
    s.rstd[g] = static_cast<float>(1.0 / std::sqrt(variance + kNormEpsilon));
  }
}

/// z = x factor + constant is the value before the activation; x without the slice's offset.
template <class T>
CASDM_INLINE void affine(const NormSlice<T>& s, float* factor, float* constant) {
  const std::int64_t width = s.channels / s.groups;
  for (std::int64_t c = 0; c < s.channels; ++c) {
    const float scale = s.scale ? 1.0f + s.scale[c] : 1.0f;
    const float shift = s.shift ? s.shift[c] : 0.0f;
    factor[c] = s.rstd[c / width] * s.weight[c] * scale;
    const float offset = s.offset ? s.offset[c] : 0.0f;
    constant[c] = s.bias[c] * scale + shift + (offset - s.mean[c / width]) * factor[c];
  }
}

template <bool kSilu, class T>
CASDM_INLINE void forward(const NormSlice<T>& s, T* y) {
  Scratch scratch(s.channels);
  moments(s, scratch);
  float* __restrict factor = scratch.floats(3);
  float* __restrict offset = scratch.floats(4);
  affine(s, factor, offset);
  for (std::int64_t p = 0; p < s.pixels; ++p) {
    const T* __restrict from = s.x + p * s.stride;
    T* __restrict to = y + p * s.stride;
    CASDM_INDEPENDENT
    for (std::int64_t c = 0; c < s.channels; ++c) {
      const float z = static_cast<float>(from[c]) * factor[c] + offset[c];
      to[c] = static_cast<T>(kSilu ? z * sigmoid(z) : z);
    }
  }
}

/// First sweep: the gradient of z goes to `grad_x`; its sums, and those of its products with
/// x - mean, to the scratch's float64 rows.
template <bool kSilu, class T>
CASDM_INLINE void gradient_sums(const NormSlice<T>& s, const T* grad_y, T* grad_x, Scratch& scratch) {
  float* __restrict sum = scratch.floats(0);
  float* __restrict product = scratch.floats(1);
  const float* __restrict mean = scratch.floats(2);
  float* __restrict factor = scratch.floats(3);
  float* __restrict offset = scratch.floats(4);
  affine(s, factor, offset);
  for (std::int64_t begin = 0; begin < s.pixels; begin += kBlock) {
    const std::int64_t end = std::min(begin + kBlock, s.pixels);
    for (std::int64_t p = begin; p < end; ++p) {
      const T* __restrict from = s.x + p * s.stride;
      const T* __restrict g = grad_y + p * s.stride;
      T* __restrict to = grad_x + p * s.stride;
      CASDM_INDEPENDENT
      for (std::int64_t c = 0; c < s.channels; ++c) {
        const auto x = static_cast<float>(from[c]);
        auto grad = static_cast<float>(g[c]);
        if constexpr (kSilu) {
          const float z = x * factor[c] + offset[c];
          const float gate = sigmoid(z);
          grad *= gate * (1.0f + z * (1.0f - gate));
        }
        to[c] = static_cast<T>(grad);
        sum[c] += grad;
        product[c] += grad * (x - mean[c]);
      }
    }
    scratch.flush();
  }
}

/// The sum of grad_x over all pixels.
template <class T>
CASDM_INLINE void offset_gradient(const NormSlice<T>& s, const T* grad_x, float* result, Scratch& scratch) {
  float* __restrict sum = scratch.floats(0);
  std::fill(scratch.doubles(0), scratch.doubles(0) + s.channels, 0.0);
  for (std::int64_t begin = 0; begin < s.pixels; begin += kBlock) {
    const std::int64_t end = std::min(begin + kBlock, s.pixels);
    for (std::int64_t p = begin; p < end; ++p) {
      const T* __restrict grad = grad_x + p * s.stride;
      CASDM_INDEPENDENT
      for (std::int64_t c = 0; c < s.channels; ++c) sum[c] += static_cast<float>(grad[c]);
    }
    scratch.flush();
  }
  for (std::int64_t c = 0; c < s.channels; ++c) result[c] = static_cast<float>(scratch.doubles(0)[c]);
}

template <bool kSilu, class T>
CASDM_INLINE void backward(const NormSlice<T>& s, const T* grad_y, const NormGradients<T>& out) {
  Scratch scratch(s.channels);
  const std::int64_t width = s.channels / s.groups;
  float* __restrict mean = scratch.floats(2);
  for (std::int64_t c = 0; c < s.channels; ++c) mean[c] = s.mean[c / width] - (s.offset ? s.offset[c] : 0.0f);
  gradient_sums<kSilu>(s, grad_y, out.x, scratch);

  float* __restrict slope = scratch.floats(4);     // d grad_x / d (x - mean)
  float* __restrict constant = scratch.floats(5);  // the part of grad_x that is the same everywhere
  for (std::int64_t g = 0; g < s.groups; ++g) {
    const double rstd = s.rstd[g];
    double along_mean = 0.0, along_x = 0.0;
    for (std::int64_t c = g * width; c < (g + 1) * width; ++c) {
      const double sum = scratch.doubles(0)[c];
      const double product = scratch.doubles(1)[c] * rstd;
      const double scale = s.scale ? 1.0 + s.scale[c] : 1.0;
      along_mean += s.weight[c] * scale * sum;
      along_x += s.weight[c] * scale * product;
      out.weight[c] = static_cast<float>(product * scale);
      out.bias[c] = static_cast<float>(sum * scale);
      if (s.scale) {
        out.scale[c] = static_cast<float>(product * s.weight[c] + sum * s.bias[c]);
        out.shift[c] = static_cast<float>(sum);
      }
    }
    const double elements = static_cast<double>(width) * static_cast<double>(s.pixels);
    for (std::int64_t c = g * width; c < (g + 1) * width; ++c) {
      slope[c] = static_cast<float>(-rstd * rstd * along_x / elements);
      constant[c] = static_cast<float>(-rstd * along_mean / elements);
    }
  }
  const float* __restrict factor = scratch.floats(3);
  for (std::int64_t p = 0; p < s.pixels; ++p) {
    const T* __restrict from = s.x + p * s.stride;
    T* __restrict grad = out.x + p * s.stride;
    CASDM_INDEPENDENT
    for (std::int64_t c = 0; c < s.channels; ++c) {
      const float x = static_cast<float>(from[c]) - mean[c];
      grad[c] = static_cast<T>(static_cast<float>(grad[c]) * factor[c] + (x * slope[c] + constant[c]));
    }
  }
  if (s.offset) offset_gradient(s, out.x, out.offset, scratch);
}

template <class T>
CASDM_INLINE void forward_of(const NormSlice<T>& s, T* y) {
  s.silu ? forward<true>(s, y) : forward<false>(s, y);
}

template <class T>
CASDM_INLINE void backward_of(const NormSlice<T>& s, const T* grad_y, const NormGradients<T>& out) {
  s.silu ? backward<true>(s, grad_y, out) : backward<false>(s, grad_y, out);
}

#ifdef CASDM_AVX2
const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");

template <class T>
CASDM_AVX2 void forward_avx2(const NormSlice<T>& s, T* y) {
  forward_of(s, y);
}

template <class T>
CASDM_AVX2 void backward_avx2(const NormSlice<T>& s, const T* grad_y, const NormGradients<T>& out) {
  backward_of(s, grad_y, out);
}
#endif

}  // namespace

template <class T>
void norm_forward(const NormSlice<T>& slice, T* y) {
#ifdef CASDM_AVX2
  if (has_avx2) return forward_avx2(slice, y);
#endif
  forward_of(slice, y);
}

template <class T>
void norm_backward(const NormSlice<T>& slice, const T* grad_y, const NormGradients<T>& gradients) {
#ifdef CASDM_AVX2
  if (has_avx2) return backward_avx2(slice, grad_y, gradients);
#endif
  backward_of(slice, grad_y, gradients);
}

template void norm_forward(const NormSlice<float>&, float*);
template void norm_forward(const NormSlice<c10::BFloat16>&, c10::BFloat16*);
template void norm_backward(const NormSlice<float>&, const float*, const NormGradients<float>&);
template void norm_backward(const NormSlice<c10::BFloat16>&, const c10::BFloat16*, const NormGradients<c10::BFloat16>&);

}  // namespace casdm::unet
