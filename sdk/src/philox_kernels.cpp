#include "philox_kernels.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <type_traits>

#include "casdm/philox.h"

// The loops run over neighbouring lanes, so that the compiler can vectorise them. They are compiled for AVX2, AVX-512
// and the baseline; which is used is decided at run time. Multiplications and additions must not be contracted: this
// file is compiled with -ffp-contract=off.
#define CASDM_INLINE inline __attribute__((always_inline))
#if defined(__x86_64__)
#define CASDM_AVX2 __attribute__((target("avx2")))
#define CASDM_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#endif

namespace casdm::philox {
namespace {

/// Counters that are processed side by side.
constexpr int kLanes = 64;
static_assert(kBlock == 4 * kLanes);

using Row = std::uint32_t[kLanes];

CASDM_INLINE std::uint32_t high_product(std::uint32_t a, std::uint32_t b) {
  return static_cast<std::uint32_t>((static_cast<std::uint64_t>(a) * b) >> 32);
}
CASDM_INLINE std::uint32_t bits_of(float x) { return std::bit_cast<std::uint32_t>(x); }
CASDM_INLINE float float_of(std::uint32_t bits) { return std::bit_cast<float>(bits); }
CASDM_INLINE float times(float a, float b) { return a * b; }
CASDM_INLINE float plus(float a, float b) { return a + b; }
CASDM_INLINE float root(float x) { return std::sqrt(x); }

#define CASDM_SHARED(...) __VA_ARGS__
#include "philox_shared.inc"

/// The words of counters first, first + stride, ...
CASDM_INLINE void words(const Stream& s, std::uint32_t first, std::uint32_t stride, Row* __restrict out) {
  const auto s0 = static_cast<std::uint32_t>(s.stream), s1 = static_cast<std::uint32_t>(s.stream >> 32);
  const auto k0 = static_cast<std::uint32_t>(s.seed), k1 = static_cast<std::uint32_t>(s.seed >> 32);
  for (int j = 0; j < kLanes; ++j) {
    std::uint32_t c0 = first + static_cast<std::uint32_t>(j) * stride, c1 = 0, c2 = s0, c3 = s1;
    rounds<0>(c0, c1, c2, c3, k0, k1);
    out[0][j] = c0;
    out[1][j] = c1;
    out[2][j] = c2;
    out[3][j] = c3;
  }
}

CASDM_INLINE void normal_block(const Stream& stream, std::uint32_t counter, float* __restrict out) {
  Row w[4];
  words(stream, counter, 1, w);
  for (int j = 0; j < kLanes; ++j) {
    on_circle(w[1][j], radius(w[0][j]), out[4 * j], out[4 * j + 1]);
    on_circle(w[3][j], radius(w[2][j]), out[4 * j + 2], out[4 * j + 3]);
  }
}

CASDM_INLINE void normal_of(const Stream& stream, std::int64_t first, std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; i += kBlock) {
    const auto counter = static_cast<std::uint32_t>((first + i) / 4);
    if (count - i >= kBlock) {
      normal_block(stream, counter, out + i);
    } else {
      float block[kBlock];
      normal_block(stream, counter, block);
      std::copy_n(block, count - i, out + i);
    }
  }
}

/// Writes `count` elements whose words are adjacent.
template <class T>
CASDM_INLINE void drop(const DropoutRule& rule, const std::uint32_t* __restrict w, std::int64_t count,
                       const T* __restrict x, T* __restrict y) {
  using Real = std::conditional_t<std::is_same_v<T, double>, double, float>;
  const std::uint32_t threshold = rule.threshold;
  const auto scale = std::bit_cast<std::uint32_t>(rule.scale);
  for (std::int64_t j = 0; j < count; ++j) {
    const std::uint32_t kept = w[j] < threshold ? 0u : ~0u;
    y[j] = static_cast<T>(static_cast<Real>(x[j]) * static_cast<Real>(std::bit_cast<float>(scale & kept)));
  }
}

template <class T>
CASDM_INLINE void dropout_of(const DropoutRule& rule, std::int64_t first, std::int64_t count, const T* x, T* y) {
  for (std::int64_t i = 0; i < count; i += kBlock) {
    Row w[4];
    words(rule.stream, static_cast<std::uint32_t>((first + i) / 4), 1, w);
    std::uint32_t in_order[kBlock];
    for (int j = 0; j < kLanes; ++j) {
      in_order[4 * j] = w[0][j];
      in_order[4 * j + 1] = w[1][j];
      in_order[4 * j + 2] = w[2][j];
      in_order[4 * j + 3] = w[3][j];
    }
    drop(rule, in_order, std::min(count - i, kBlock), x + i, y + i);
  }
}

template <class T>
CASDM_INLINE void channels_last_of(const DropoutRule& rule, std::int64_t first, std::int64_t pixels,
                                   std::int64_t channels, const T* x, T* y) {
  for (std::int64_t c = 0; c < channels; c += kLanes) {
    Row w[4];
    words(rule.stream, static_cast<std::uint32_t>((c * pixels + first) / 4), static_cast<std::uint32_t>(pixels / 4), w);
    for (int k = 0; k < 4; ++k) {
      const std::int64_t at = k * channels + c;
      drop(rule, w[k], std::min<std::int64_t>(channels - c, kLanes), x + at, y + at);
    }
  }
}

#ifdef CASDM_AVX2
CASDM_AVX2 void normal_avx2(const Stream& s, std::int64_t first, std::int64_t count, float* out) {
  normal_of(s, first, count, out);
}
CASDM_AVX512 void normal_avx512(const Stream& s, std::int64_t first, std::int64_t count, float* out) {
  normal_of(s, first, count, out);
}
template <class T>
CASDM_AVX2 void dropout_avx2(const DropoutRule& r, std::int64_t first, std::int64_t count, const T* x, T* y) {
  dropout_of(r, first, count, x, y);
}
template <class T>
CASDM_AVX512 void dropout_avx512(const DropoutRule& r, std::int64_t first, std::int64_t count, const T* x, T* y) {
  dropout_of(r, first, count, x, y);
}
template <class T>
CASDM_AVX2 void channels_last_avx2(const DropoutRule& r, std::int64_t first, std::int64_t pixels, std::int64_t channels,
                                   const T* x, T* y) {
  channels_last_of(r, first, pixels, channels, x, y);
}
template <class T>
CASDM_AVX512 void channels_last_avx512(const DropoutRule& r, std::int64_t first, std::int64_t pixels,
                                       std::int64_t channels, const T* x, T* y) {
  channels_last_of(r, first, pixels, channels, x, y);
}
#endif

}  // namespace

InstructionSet best_instruction_set() {
#ifdef CASDM_AVX2
  static const InstructionSet best = [] {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) {
      return InstructionSet::avx512;
    }
    return __builtin_cpu_supports("avx2") ? InstructionSet::avx2 : InstructionSet::baseline;
  }();
  return best;
#else
  return InstructionSet::baseline;
#endif
}

void normal(InstructionSet set, const Stream& stream, std::int64_t first, std::int64_t count, float* out) {
#ifdef CASDM_AVX2
  if (set == InstructionSet::avx512) return normal_avx512(stream, first, count, out);
  if (set == InstructionSet::avx2) return normal_avx2(stream, first, count, out);
#endif
  normal_of(stream, first, count, out);
}

template <class T>
void dropout(InstructionSet set, const DropoutRule& rule, std::int64_t first, std::int64_t count, const T* x, T* y) {
#ifdef CASDM_AVX2
  if (set == InstructionSet::avx512) return dropout_avx512(rule, first, count, x, y);
  if (set == InstructionSet::avx2) return dropout_avx2(rule, first, count, x, y);
#endif
  dropout_of(rule, first, count, x, y);
}

template <class T>
void dropout_channels_last(InstructionSet set, const DropoutRule& rule, std::int64_t first, std::int64_t pixels,
                           std::int64_t channels, const T* x, T* y) {
#ifdef CASDM_AVX2
  if (set == InstructionSet::avx512) return channels_last_avx512(rule, first, pixels, channels, x, y);
  if (set == InstructionSet::avx2) return channels_last_avx2(rule, first, pixels, channels, x, y);
#endif
  channels_last_of(rule, first, pixels, channels, x, y);
}

#define CASDM_INSTANTIATE(T)                                                                                        \
  template void dropout(InstructionSet, const DropoutRule&, std::int64_t, std::int64_t, const T*, T*);              \
  template void dropout_channels_last(InstructionSet, const DropoutRule&, std::int64_t, std::int64_t, std::int64_t, \
                                      const T*, T*);
CASDM_INSTANTIATE(float)
CASDM_INSTANTIATE(double)
CASDM_INSTANTIATE(c10::BFloat16)
CASDM_INSTANTIATE(c10::Half)

}  // namespace casdm::philox

namespace casdm {

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> c, std::array<std::uint32_t, 2> key) {
  philox::rounds<0>(c[0], c[1], c[2], c[3], key[0], key[1]);
  return c;
}

}  // namespace casdm
