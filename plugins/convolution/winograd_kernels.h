#pragma once

#include <cstdint>

/// The loops of convolutions by Winograd's F(4x4, 3x3): no tensors and no threads.
///
/// An image of outputs is covered by tiles of 4x4; a tile's 6x6 inputs are transformed, at each of the 36 places
/// the channels are multiplied as matrices, and what results is transformed back (Lavin & Gray 2016). The weight's
/// gradient is F(3x3, 4x4) over the same tiles.
namespace casdm::convolution::winograd {

constexpr std::int64_t kPlaces = 36;   ///< of a transformed tile
constexpr std::int64_t kPanel = 8;     ///< tiles, or channels, that one product takes at once
constexpr std::int64_t kChunk = 16;    ///< adjacent channels of one tile in a transformed block
constexpr std::int64_t kColumns = 32;  ///< channels that come out of one product; all channels are multiples of it

/// Channels-last images and their tiles.
struct Tiling {
  std::int64_t batch = 0, height = 0, width = 0;
  std::int64_t rows() const { return (height + 3) / 4; }
  std::int64_t columns() const { return (width + 3) / 4; }
  std::int64_t count() const { return batch * rows() * columns(); }
};

/// Channels first ... first + count - 1 of images with `stride` channels.
struct Channels {
  std::int64_t first = 0, count = 0, stride = 0;
};

/// The tiles first ... first + count - 1, where those beyond the last tile are zero; `count` is a multiple of kPanel.
/// A block of them, transformed, is [place][tile / kPanel][channel / kChunk][kPanel][kChunk].
struct Tiles {
  std::int64_t first = 0, count = 0;
};

/// The kernels for one instruction set.
struct Kernels {
  /// Transforms the 6x6 inputs of tiles.
  void (*inputs)(const Tiling& tiling, const Tiles& tiles, const Channels& channels, const float* x, float* block);
  /// Transforms the 4x4 gradients of tiles, for that of the weight.
  void (*gradients)(const Tiling& tiling, const Tiles& tiles, const Channels& channels, const float* grad,
                    float* block);
  /// Products of a transformed block with the weights of kColumns channels, [place][channel][kColumns]; transformed
  /// back, with bias (or null), to channels.first and following of y. `scratch`: kPlaces * tiles.count * kColumns.
  void (*outputs)(const Tiling& tiling, const Tiles& tiles, const Channels& channels, std::int64_t in,
                  const float* block, const float* weight, const float* bias, float* scratch, float* y);
  /// Adds to sums[place][from / kPanel][to / kColumns][kPanel][kColumns] the products of two transformed blocks.
  void (*add_products)(std::int64_t tiles, std::int64_t from, std::int64_t to, const float* inputs,
                       const float* gradients, float* sums);
  /// Transforms kPanel x kColumns weights, [3][3][kPanel][kColumns], to [place][kPanel][kColumns] with `stride` between
  /// places.
  void (*weights)(const float* weight, std::int64_t stride, float* to);
  /// Transforms sums [place][kPanel][kColumns] with `stride` between places to the gradient of such weights.
  void (*weight_gradients)(const float* sums, std::int64_t stride, float* grad);
};

/// Null if this processor has no instruction set for which these convolutions are worth their while.
const Kernels* best_kernels();

}  // namespace casdm::convolution::winograd
