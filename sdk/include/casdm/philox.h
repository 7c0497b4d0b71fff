#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <array>
#include <cstdint>
#include <vector>

#include "casdm/api.h"

/// Draws by position: normal noise and dropout whose every number is a function of the image's seed and of its place in
/// the image. So they are the same for any batch size, number of threads and memory format, and nothing is kept between
/// two calls.
///
/// The generator is Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). Element i of an
/// image, counted in the order of a contiguous [C, H, W], has word i % 4 of
///
///     philox4x32({i / 4, 0, stream's low half, stream's high half}, {seed's low half, seed's high half})
///
/// Words, normals and so dropout have the same bits on every CPU and on CUDA: no multiplication is contracted with an
/// addition anywhere. An image has at most 2^34 elements.
namespace casdm CASDM_API {

using at::Tensor;

/// The ten rounds: four random words.
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

/// The words of `count` elements of each image, as int64 [seeds.size(), count] in 0..2^32-1, by tensor operations
/// alone.
Tensor philox_words(const std::vector<std::uint64_t>& seeds, std::uint64_t stream, std::int64_t count,
                    c10::Device device);

/// N(0, 1) from each two neighbouring words, by tensor operations alone (Box & Muller 1958): float32, like `words`.
/// The largest magnitude is 6.76.
/// @param words  [..., 2 n], of `philox_words`
Tensor normal_from_words(const Tensor& words);

/// N(0, 1) like `like`: image i is a function of seeds[i] alone.
///
///     batch.eps = normal_like(batch.x0, seeds);
///
/// It is drawn in float32 and then has the dtype of `like`, so that float64 sees the same noise.
/// @param like   [B, ...], floating point, on any device
/// @param seeds  B of them; images with one seed get the same noise
Tensor normal_like(const Tensor& like, const std::vector<std::uint64_t>& seeds);

/// Dropout without a generator: which elements are dropped is a function of the image's seed, the layer and the
/// element's place alone. An evaluation that is repeated for the backward pass needs no state to be repeated.
///
///     h = condition.dropout.apply(h, 0.1, layer);
struct Dropout {
  std::vector<std::uint64_t> seeds;  ///< one per image; empty: nothing is dropped

  /// x with elements at 0 with probability `p`, the others divided by 1 - p; x itself where p is 0 or there are no
  /// seeds. Gradients can be differentiated again. Nothing is kept for the backward pass on the CPU, nor on devices
  /// with block kernels for float32 and bfloat16: the mask is computed twice. Otherwise a byte per element is kept.
  /// @param x      [B, ...], floating point; channels-last images stay so
  /// @param p      0 <= p < 1
  /// @param layer  a number that no other dropout of the same network has
  Tensor apply(const Tensor& x, double p, std::uint64_t layer) const;
};

}  // namespace casdm
