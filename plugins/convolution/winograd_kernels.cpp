#include "winograd_kernels.h"

#include <algorithm>
#include <cstring>

#define CASDM_INLINE inline __attribute__((always_inline))
#if defined(__x86_64__)
#define CASDM_AVX2 __attribute__((target("avx2,fma")))
#define CASDM_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))
#endif

namespace casdm::convolution::winograd {
namespace {

/// W adjacent floats at any address.
template <int W>
struct Lanes {
  using Type [[gnu::vector_size(4 * W), gnu::aligned(4), gnu::may_alias]] = float;
};
template <int W>
using Vec = typename Lanes<W>::Type;

// The points of the interpolation are 0, +-kA, +-kB and infinity. These have half the rounding errors of the usual +-1
// and +-2, and all factors below are exact.
constexpr float kA = 0.625f, kB = 1.5f;
constexpr float kA2 = kA * kA, kB2 = kB * kB;

/// B^T of six values.
template <int W>
CASDM_INLINE void transform_input(const Vec<W>* d, Vec<W>* t) {
  const Vec<W> even_a = d[4] - kB2 * d[2], odd_a = kA * (d[3] - kB2 * d[1]);
  const Vec<W> even_b = d[4] - kA2 * d[2], odd_b = kB * (d[3] - kA2 * d[1]);
  t[0] = kA2 * kB2 * d[0] - (kA2 + kB2) * d[2] + d[4];
  t[1] = even_a + odd_a;
  t[2] = even_a - odd_a;
  t[3] = even_b + odd_b;
  t[4] = even_b - odd_b;
  t[5] = kA2 * kB2 * d[1] - (kA2 + kB2) * d[3] + d[5];
}

// 1 / the product of differences to the other points.
constexpr float kAt0 = static_cast<float>(1.0 / (kA2 * kB2));
constexpr float kAtA = static_cast<float>(1.0 / (2.0 * kA2 * (kA2 - kB2)));
constexpr float kAtB = static_cast<float>(1.0 / (2.0 * kB2 * (kB2 - kA2)));

/// G of three values.
template <int W>
CASDM_INLINE void transform_weight(const Vec<W>* g, Vec<W>* t) {
  const Vec<W> even_a = kAtA * (g[0] + kA2 * g[2]), odd_a = (kAtA * kA) * g[1];
  const Vec<W> even_b = kAtB * (g[0] + kB2 * g[2]), odd_b = (kAtB * kB) * g[1];
  t[0] = kAt0 * g[0];
  t[1] = even_a + odd_a;
  t[2] = even_a - odd_a;
  t[3] = even_b + odd_b;
  t[4] = even_b - odd_b;
  t[5] = g[2];
}

/// G of the four values of F(3, 4).
template <int W>
CASDM_INLINE void transform_gradient(const Vec<W>* g, Vec<W>* t) {
  const Vec<W> even_a = kAtA * (g[0] + kA2 * g[2]), odd_a = (kAtA * kA) * (g[1] + kA2 * g[3]);
  const Vec<W> even_b = kAtB * (g[0] + kB2 * g[2]), odd_b = (kAtB * kB) * (g[1] + kB2 * g[3]);
  t[0] = kAt0 * g[0];
  t[1] = even_a + odd_a;
  t[2] = even_a - odd_a;
  t[3] = even_b + odd_b;
  t[4] = even_b - odd_b;
  t[5] = g[3];
}

/// A^T: four outputs of six values.
template <int W>
CASDM_INLINE void transform_output(const Vec<W>* m, Vec<W>* y) {
  const Vec<W> sum_a = m[1] + m[2], difference_a = kA * (m[1] - m[2]);
  const Vec<W> sum_b = m[3] + m[4], difference_b = kB * (m[3] - m[4]);
  y[0] = m[0] + sum_a + sum_b;
  y[1] = difference_a + difference_b;
  y[2] = kA2 * sum_a + kB2 * sum_b;
  y[3] = kA2 * difference_a + kB2 * difference_b + m[5];
}

/// A^T of F(3, 4): three weights of six values.
template <int W>
CASDM_INLINE void transform_weight_gradient(const Vec<W>* m, Vec<W>* y) {
  const Vec<W> sum_a = m[1] + m[2], sum_b = m[3] + m[4];
  y[0] = m[0] + sum_a + sum_b;
  y[1] = kA * (m[1] - m[2]) + kB * (m[3] - m[4]);
  y[2] = kA2 * sum_a + kB2 * sum_b + m[5];
}

/// Where a tile lies.
struct Place {
  std::int64_t image, y, x;
  Place(const Tiling& t, std::int64_t tile)
      : image(tile / (t.rows() * t.columns())), y(tile / t.columns() % t.rows() * 4), x(tile % t.columns() * 4) {}
};

/// Pointers to the first of `channels` at N x N pixels from (top, left); `nothing` for those outside of the image.
template <int N>
CASDM_INLINE void pixels_at(const Tiling& t, std::int64_t image, std::int64_t top, std::int64_t left,
                            const Channels& channels, const float* x, const float* nothing, const float** pixels) {
  for (std::int64_t i = 0; i < N; ++i) {
    for (std::int64_t j = 0; j < N; ++j) {
      const std::int64_t row = top + i, column = left + j;
      const bool is_inside = row >= 0 && row < t.height && column >= 0 && column < t.width;
      pixels[i * N + j] =
          is_inside ? x + ((image * t.height + row) * t.width + column) * channels.stride + channels.first : nothing;
    }
  }
}

alignas(64) constexpr float kZeros[kChunk] = {};

template <int W, int N, class Transform>
CASDM_INLINE void transform_tiles(const Tiling& tiling, const Tiles& tiles, const Channels& channels,
                                  std::int64_t margin, const float* x, float* block, Transform transform) {
  const std::int64_t stride = tiles.count * channels.count;
  for (std::int64_t i = 0; i < tiles.count; ++i) {
    float* tile = block + (i / kPanel * channels.count) * kPanel + i % kPanel * kChunk;
    if (tiles.first + i >= tiling.count()) {
      for (std::int64_t p = 0; p < kPlaces; ++p) {
        for (std::int64_t c = 0; c < channels.count; c += kChunk)
          std::memset(tile + p * stride + c * kPanel, 0, 4 * kChunk);
      }
      continue;
    }
    const Place place(tiling, tiles.first + i);
    const float* pixels[N * N];
    pixels_at<N>(tiling, place.image, place.y - margin, place.x - margin, channels, x, nullptr, pixels);
    for (std::int64_t c = 0; c < channels.count; c += W) {
      float* to = tile + c / kChunk * kChunk * kPanel + c % kChunk;
      alignas(4 * W) Vec<W> half[6 * N], d[N], t[6];
#pragma GCC unroll 6
      for (int j = 0; j < N; ++j) {
#pragma GCC unroll 6
        for (int k = 0; k < N; ++k) {
          const float* from = pixels[k * N + j] ? pixels[k * N + j] + c : kZeros;
          d[k] = *reinterpret_cast<const Vec<W>*>(from);
        }
        transform(d, t);
#pragma GCC unroll 6
        for (int k = 0; k < 6; ++k) half[k * N + j] = t[k];
      }
#pragma GCC unroll 6
      for (int k = 0; k < 6; ++k) {
        transform(half + k * N, t);
#pragma GCC unroll 6
        for (int j = 0; j < 6; ++j) *reinterpret_cast<Vec<W>*>(to + (k * 6 + j) * stride) = t[j];
      }
    }
  }
}

template <int W>
CASDM_INLINE void inputs_of(const Tiling& tiling, const Tiles& tiles, const Channels& channels, const float* x,
                            float* block) {
  transform_tiles<W, 6>(
      tiling, tiles, channels, 1, x, block,
      [](const Vec<W>* d, Vec<W>* t) __attribute__((always_inline)) { transform_input<W>(d, t); });
}

template <int W>
CASDM_INLINE void gradients_of(const Tiling& tiling, const Tiles& tiles, const Channels& channels, const float* grad,
                               float* block) {
  transform_tiles<W, 4>(
      tiling, tiles, channels, 0, grad, block,
      [](const Vec<W>* d, Vec<W>* t) __attribute__((always_inline)) { transform_gradient<W>(d, t); });
}

/// Rows of one product.
template <int W>
constexpr int kRows = W == 16 ? 8 : 4;

/// to[kPanel][kColumns] = panel[channel / kChunk][kPanel][kChunk] weight[channel][kColumns].
template <int W>
CASDM_INLINE void multiply(std::int64_t in, const float* panel, const float* weight, float* to) {
  for (int column = 0; column < kColumns; column += 2 * W) {
    for (int row = 0; row < kPanel; row += kRows<W>) {
      Vec<W> sums[kRows<W>][2];
#pragma GCC unroll 8
      for (int r = 0; r < kRows<W>; ++r) sums[r][0] = sums[r][1] = Vec<W>{};
      const float* a = panel + row * kChunk;
      const float* b = weight + column;
      for (std::int64_t c = 0; c < in; c += kChunk, a += kPanel * kChunk) {
#pragma GCC unroll 16
        for (int k = 0; k < kChunk; ++k, b += kColumns) {
          const Vec<W> b0 = *reinterpret_cast<const Vec<W>*>(b), b1 = *reinterpret_cast<const Vec<W>*>(b + W);
#pragma GCC unroll 8
          for (int r = 0; r < kRows<W>; ++r) {
            sums[r][0] += a[r * kChunk + k] * b0;
            sums[r][1] += a[r * kChunk + k] * b1;
          }
        }
      }
#pragma GCC unroll 8
      for (int r = 0; r < kRows<W>; ++r) {
        float* out = to + (row + r) * kColumns + column;
        *reinterpret_cast<Vec<W>*>(out) = sums[r][0];
        *reinterpret_cast<Vec<W>*>(out + W) = sums[r][1];
      }
    }
  }
}

/// Writes the outputs of one tile from its products, with `stride` between places.
template <int W>
CASDM_INLINE void transform_back(const Tiling& tiling, std::int64_t tile, const Channels& channels,
                                 const float* products, std::int64_t stride, const float* bias, float* y) {
  const Place place(tiling, tile);
  const int height = static_cast<int>(std::min<std::int64_t>(4, tiling.height - place.y));
  const int width = static_cast<int>(std::min<std::int64_t>(4, tiling.width - place.x));
  float* to = y + ((place.image * tiling.height + place.y) * tiling.width + place.x) * channels.stride + channels.first;
  for (int c = 0; c < kColumns; c += W) {
    alignas(4 * W) Vec<W> half[4 * 6], m[6], t[4];
    const Vec<W> start = bias ? *reinterpret_cast<const Vec<W>*>(bias + c) : Vec<W>{};
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j) {
#pragma GCC unroll 6
      for (int k = 0; k < 6; ++k) m[k] = *reinterpret_cast<const Vec<W>*>(products + (k * 6 + j) * stride + c);
      transform_output<W>(m, t);
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) half[k * 6 + j] = t[k];
    }
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      transform_output<W>(half + k * 6, t);
      if (k < height) {
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
          if (j < width) *reinterpret_cast<Vec<W>*>(to + (k * tiling.width + j) * channels.stride + c) = t[j] + start;
        }
      }
    }
  }
}

template <int W>
CASDM_INLINE void outputs_of(const Tiling& tiling, const Tiles& tiles, const Channels& channels, std::int64_t in,
                             const float* block, const float* weight, const float* bias, float* scratch, float* y) {
  const std::int64_t stride = tiles.count * kColumns;
  for (std::int64_t p = 0; p < kPlaces; ++p) {
    for (std::int64_t i = 0; i < tiles.count; i += kPanel) {
      multiply<W>(in, block + (p * tiles.count + i) * in, weight + p * in * kColumns,
                  scratch + p * stride + i * kColumns);
    }
  }
  const std::int64_t last = std::min(tiles.first + tiles.count, tiling.count());
  for (std::int64_t tile = tiles.first; tile < last; ++tile) {
    transform_back<W>(tiling, tile, channels, scratch + (tile - tiles.first) * kColumns, stride, bias, y);
  }
}

/// sums[kPanel][kColumns] += the products of channels, over tiles.
template <int W>
CASDM_INLINE void add_product(std::int64_t tiles, std::int64_t a_stride, std::int64_t b_stride, const float* from,
                              const float* gradients, float* sums) {
  for (int column = 0; column < kColumns; column += 2 * W) {
    for (int row = 0; row < kPanel; row += kRows<W>) {
      Vec<W> s[kRows<W>][2];
#pragma GCC unroll 8
      for (int r = 0; r < kRows<W>; ++r) {
        const float* old = sums + (row + r) * kColumns + column;
        s[r][0] = *reinterpret_cast<const Vec<W>*>(old);
        s[r][1] = *reinterpret_cast<const Vec<W>*>(old + W);
      }
      const float* a = from + row;
      const float* b = gradients + column / kChunk * kPanel * kChunk + column % kChunk;
      constexpr int kSecond = W == kChunk ? kPanel * kChunk : W;
      for (std::int64_t t = 0; t < tiles; t += kPanel, a += a_stride, b += b_stride) {
#pragma GCC unroll 8
        for (int k = 0; k < kPanel; ++k) {
          const Vec<W> b0 = *reinterpret_cast<const Vec<W>*>(b + k * kChunk);
          const Vec<W> b1 = *reinterpret_cast<const Vec<W>*>(b + k * kChunk + kSecond);
#pragma GCC unroll 8
          for (int r = 0; r < kRows<W>; ++r) {
            s[r][0] += a[k * kChunk + r] * b0;
            s[r][1] += a[k * kChunk + r] * b1;
          }
        }
      }
#pragma GCC unroll 8
      for (int r = 0; r < kRows<W>; ++r) {
        float* out = sums + (row + r) * kColumns + column;
        *reinterpret_cast<Vec<W>*>(out) = s[r][0];
        *reinterpret_cast<Vec<W>*>(out + W) = s[r][1];
      }
    }
  }
}

template <int W>
CASDM_INLINE void add_products_of(std::int64_t tiles, std::int64_t from, std::int64_t to, const float* inputs,
                                  const float* gradients, float* sums) {
  for (std::int64_t p = 0; p < kPlaces; ++p) {
    for (std::int64_t k = 0; k < to; k += kColumns) {
      for (std::int64_t c = 0; c < from; c += kPanel) {
        add_product<W>(tiles, from * kPanel, to * kPanel,
                       inputs + p * tiles * from + c / kChunk * kChunk * kPanel + c % kChunk,
                       gradients + p * tiles * to + k * kPanel, sums + p * from * to + c * to + k * kPanel);
      }
    }
  }
}

template <int W>
CASDM_INLINE void weights_of(const float* weight, std::int64_t stride, float* to) {
  constexpr int kCount = kPanel * kColumns;
  for (int i = 0; i < kCount; i += W) {
    alignas(4 * W) Vec<W> half[6 * 3], g[3], t[6];
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j) {
#pragma GCC unroll 3
      for (int k = 0; k < 3; ++k) g[k] = *reinterpret_cast<const Vec<W>*>(weight + (k * 3 + j) * kCount + i);
      transform_weight<W>(g, t);
#pragma GCC unroll 6
      for (int k = 0; k < 6; ++k) half[k * 3 + j] = t[k];
    }
#pragma GCC unroll 6
    for (int k = 0; k < 6; ++k) {
      transform_weight<W>(half + k * 3, t);
#pragma GCC unroll 6
      for (int j = 0; j < 6; ++j) *reinterpret_cast<Vec<W>*>(to + (k * 6 + j) * stride + i) = t[j];
    }
  }
}

template <int W>
CASDM_INLINE void weight_gradients_of(const float* sums, std::int64_t stride, float* grad) {
  constexpr int kCount = kPanel * kColumns;
  for (int i = 0; i < kCount; i += W) {
    alignas(4 * W) Vec<W> half[3 * 6], m[6], t[3];
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j) {
#pragma GCC unroll 6
      for (int k = 0; k < 6; ++k) m[k] = *reinterpret_cast<const Vec<W>*>(sums + (k * 6 + j) * stride + i);
      transform_weight_gradient<W>(m, t);
#pragma GCC unroll 3
      for (int k = 0; k < 3; ++k) half[k * 6 + j] = t[k];
    }
#pragma GCC unroll 3
    for (int k = 0; k < 3; ++k) {
      transform_weight_gradient<W>(half + k * 6, t);
#pragma GCC unroll 3
      for (int j = 0; j < 3; ++j) *reinterpret_cast<Vec<W>*>(grad + (k * 3 + j) * kCount + i) = t[j];
    }
  }
}

#ifdef CASDM_AVX2
#define CASDM_KERNELS(name, attribute, W)                                                                            \
  struct name {                                                                                                      \
    attribute static void inputs(const Tiling& g, const Tiles& t, const Channels& c, const float* x, float* block) { \
      inputs_of<W>(g, t, c, x, block);                                                                               \
    }                                                                                                                \
    attribute static void gradients(const Tiling& g, const Tiles& t, const Channels& c, const float* x, float* b) {  \
      gradients_of<W>(g, t, c, x, b);                                                                                \
    }                                                                                                                \
    attribute static void outputs(const Tiling& g, const Tiles& t, const Channels& c, std::int64_t in,               \
                                  const float* block, const float* weight, const float* bias, float* scratch,        \
                                  float* y) {                                                                        \
      outputs_of<W>(g, t, c, in, block, weight, bias, scratch, y);                                                   \
    }                                                                                                                \
    attribute static void add_products(std::int64_t t, std::int64_t from, std::int64_t to, const float* a,           \
                                       const float* b, float* sums) {                                                \
      add_products_of<W>(t, from, to, a, b, sums);                                                                   \
    }                                                                                                                \
    attribute static void weights(const float* w, std::int64_t stride, float* to) { weights_of<W>(w, stride, to); }  \
    attribute static void weight_gradients(const float* s, std::int64_t stride, float* g) {                          \
      weight_gradients_of<W>(s, stride, g);                                                                          \
    }                                                                                                                \
    static constexpr Kernels kernels{inputs, gradients, outputs, add_products, weights, weight_gradients};           \
  };
CASDM_KERNELS(Avx2, CASDM_AVX2, 8)
CASDM_KERNELS(Avx512, CASDM_AVX512, 16)
#endif

}  // namespace

const Kernels* best_kernels() {
#ifdef CASDM_AVX2
  static const Kernels* const best = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                                             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
                                         ? &Avx512::kernels
                                     : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &Avx2::kernels
                                                                                                       : nullptr;
  return best;
#else
  return nullptr;
#endif
}

}  // namespace casdm::convolution::winograd
