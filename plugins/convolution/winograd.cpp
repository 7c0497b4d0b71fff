#include "winograd.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>

#include "casdm/parallel.h"
#include "winograd_kernels.h"

namespace casdm::convolution {
namespace {

using namespace winograd;

constexpr std::int64_t kTaps = 9;  // of a weight
/// Floats of a transformed block of tiles: with the products and a part of the weight it stays in the second-level
/// cache.
constexpr std::int64_t kBlockFloats = kPlaces * 8192;
/// Channels on each side, and tiles, of a part of the weight's gradient, for the same reason.
constexpr std::int64_t kPartChannels = 64, kPartTiles = 32;

std::int64_t divided_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

Tiling tiling_of(const Tensor& x) { return {x.size(0), x.size(2), x.size(3)}; }

/// Memory for each of LibTorch's threads.
class Scratch {
 public:
  Scratch(std::int64_t threads, std::int64_t floats)
      : threads_(threads), floats_(floats), memory_(at::empty({threads * floats}, at::kFloat)) {}
  float* of_this_thread() const {
    return memory_.mutable_data_ptr<float>() + at::get_thread_num() % threads_ * floats_;
  }

 private:
  std::int64_t threads_, floats_;
  Tensor memory_;
};

/// A weight as the forward pass applies it, or as the input gradient does: turned by 180 degrees, from K to C channels.
enum class Direction { forward, backward };

/// The weights from channels from..from+kPanel-1 to channels to..to+kColumns-1 as [3][3][kPanel][kColumns].
void gather(const float* weight, Direction direction, std::int64_t channels, std::int64_t from, std::int64_t to,
            float* gathered) {
  if (direction == Direction::forward) {
    for (std::int64_t k = 0; k < kColumns; ++k) {
      const float* row = weight + ((to + k) * channels + from) * kTaps;
      for (std::int64_t c = 0; c < kPanel; ++c) {
        for (std::int64_t t = 0; t < kTaps; ++t) gathered[(t * kPanel + c) * kColumns + k] = row[c * kTaps + t];
      }
    }
    return;
  }
  for (std::int64_t k = 0; k < kPanel; ++k) {
    const float* row = weight + ((from + k) * channels + to) * kTaps;
    for (std::int64_t c = 0; c < kColumns; ++c) {
      for (std::int64_t t = 0; t < kTaps; ++t) {
        gathered[((kTaps - 1 - t) * kPanel + k) * kColumns + c] = row[c * kTaps + t];
      }
    }
  }
}

using Floats = std::shared_ptr<float>;

constexpr std::int64_t kAlignment = 64;  // of a vector and of a line of the cache, in bytes

/// Memory for a transformed weight, kept for the next one: glibc gives blocks of more than 32 MiB back at once, and
/// clearing their pages anew takes longer than the transform.
Floats kept_floats(std::int64_t count) {
  static std::mutex mutex;
  static Floats kept;
  static std::int64_t kept_count = 0;
  const std::lock_guard lock(mutex);
  if (kept && kept.use_count() == 1 && kept_count >= count) return kept;
  const auto bytes = static_cast<std::size_t>(divided_up(count * 4, kAlignment) * kAlignment);
  Floats floats(static_cast<float*>(std::aligned_alloc(kAlignment, bytes)), std::free);
  if (!floats) throw std::bad_alloc();
  if (count > kept_count) {
    kept = floats;
    kept_count = count;
  }
  return floats;
}

/// [out / kColumns][place][in][kColumns].
Floats transformed(const Tensor& weight, Direction direction) {
  const Kernels& kernels = *best_kernels();
  const std::int64_t channels = weight.size(1);
  const std::int64_t in = direction == Direction::forward ? channels : weight.size(0);
  const std::int64_t out = direction == Direction::forward ? weight.size(0) : channels;
  const Floats result = kept_floats(out * kPlaces * in);
  const float* from = weight.const_data_ptr<float>();
  float* to = result.get();
  run_parallel(out / kColumns * (in / kColumns), [&](std::int64_t index) {
    const std::int64_t column = index / (in / kColumns), first = index % (in / kColumns) * kColumns;
    float gathered[kTaps * kPanel * kColumns];
    for (std::int64_t row = first; row < first + kColumns; row += kPanel) {
      gather(from, direction, channels, row, column * kColumns, gathered);
      kernels.weights(gathered, in * kColumns, to + (column * kPlaces * in + row) * kColumns);
    }
  });
  return result;
}

/// How a convolution is split: blocks of tiles and, if these are too few for the threads, parts of the output channels.
struct Blocks {
  std::int64_t tiles, count, parts = 1;

  Blocks(std::int64_t all, std::int64_t in, std::int64_t out) {
    const std::int64_t threads = at::get_num_threads();
    const std::int64_t most = std::max(kBlockFloats / kPlaces / in / kPanel, std::int64_t{1}) * kPanel;
    count = divided_up(all, most);
    if (count >= threads) count = divided_up(count, threads) * threads;
    while (count * parts < threads && parts < out / kColumns) ++parts;
    tiles = divided_up(divided_up(all, count), kPanel) * kPanel;
    count = divided_up(all, tiles);
  }
};

Tensor convolve(const Tensor& x, const Floats& weight, std::int64_t out, const Tensor& bias) {
  const Kernels& kernels = *best_kernels();
  const Tiling tiling = tiling_of(x);
  const std::int64_t in = x.size(1), columns = out / kColumns;
  const Blocks blocks(tiling.count(), in, out);
  const Tensor y =
      at::empty({x.size(0), out, x.size(2), x.size(3)}, x.options().memory_format(at::MemoryFormat::ChannelsLast));
  const std::int64_t block_floats = kPlaces * blocks.tiles * in;
  const Scratch scratch(at::get_num_threads(), block_floats + kPlaces * blocks.tiles * kColumns);
  const float* from = x.const_data_ptr<float>();
  const float* weights = weight.get();
  const float* start = bias.defined() ? bias.const_data_ptr<float>() : nullptr;
  float* to = y.mutable_data_ptr<float>();
  run_parallel(blocks.count * blocks.parts, [&](std::int64_t index) {
    const Tiles tiles{index / blocks.parts * blocks.tiles, blocks.tiles};
    const std::int64_t part = index % blocks.parts;
    float* block = scratch.of_this_thread();
    kernels.inputs(tiling, tiles, {0, in, in}, from, block);
    for (std::int64_t j = columns * part / blocks.parts; j < columns * (part + 1) / blocks.parts; ++j) {
      kernels.outputs(tiling, tiles, {j * kColumns, kColumns, out}, in, block, weights + j * kPlaces * in * kColumns,
                      start ? start + j * kColumns : nullptr, block + block_floats, to);
    }
  });
  return y;
}

/// A part of the weight's gradient: from the channels c..c+c_count-1 to the channels k..k+k_count-1.
struct Part {
  std::int64_t c, c_count, k, k_count;
};

/// The gradient of a weight, in parts whose sums stay in cache. If there are too few parts for the threads, each is
/// split further, over the tiles.
class WeightGradient {
 public:
  WeightGradient(const Tensor& grad_y, const Tensor& x)
      : kernels_(*best_kernels()),
        tiling_(tiling_of(x)),
        channels_(x.size(1)),
        out_(grad_y.size(1)),
        tiles_(std::min(divided_up(tiling_.count(), kPanel) * kPanel, kPartTiles)),
        blocks_(divided_up(tiling_.count(), tiles_)),
        parts_(divided_up(channels_, kPartChannels) * divided_up(out_, kPartChannels)),
        x_(x.const_data_ptr<float>()),
        grad_y_(grad_y.const_data_ptr<float>()),
        result_(at::empty({out_, channels_, 3, 3}, at::kFloat)) {}

  Tensor operator()() {
    const std::int64_t threads = at::get_num_threads();
    std::int64_t splits = 1;
    while (parts_ * splits % threads != 0 && parts_ * splits < 4 * threads && splits < blocks_) ++splits;
    const std::int64_t block_floats = 2 * kPlaces * tiles_ * kPartChannels;
    const Scratch scratch(threads, block_floats + (splits == 1 ? kSums : 0));
    const Tensor sums = at::empty({splits == 1 ? 0 : parts_ * splits, kSums}, at::kFloat);
    float* of_all = sums.mutable_data_ptr<float>();
    run_parallel(parts_ * splits, [&](std::int64_t index) {
      const std::int64_t split = index % splits;
      float* blocks = scratch.of_this_thread();
      float* of_part = splits == 1 ? blocks + block_floats : of_all + index * kSums;
      add(part(index / splits), blocks_ * split / splits, blocks_ * (split + 1) / splits, blocks, of_part);
      if (splits == 1) finish(part(index), 0, kPartChannels, of_part);
    });
    if (splits == 1) return result_;
    run_parallel(parts_ * kPanels, [&](std::int64_t index) {
      const std::int64_t first = index % kPanels * kPanel;
      float* of_part = of_all + index / kPanels * splits * kSums;
      for (std::int64_t split = 1; split < splits; ++split) {
        add_sums(part(index / kPanels), first, of_part + split * kSums, of_part);
      }
      finish(part(index / kPanels), first, first + kPanel, of_part);
    });
    return result_;
  }

 private:
  static constexpr std::int64_t kSums = kPlaces * kPartChannels * kPartChannels;
  static constexpr std::int64_t kPanels = kPartChannels / kPanel;

  Part part(std::int64_t index) const {
    const std::int64_t across = divided_up(out_, kPartChannels);
    const std::int64_t c = index / across * kPartChannels, k = index % across * kPartChannels;
    return {c, std::min(kPartChannels, channels_ - c), k, std::min(kPartChannels, out_ - k)};
  }

  /// The sums of the blocks first..last-1 of tiles.
  void add(const Part& part, std::int64_t first, std::int64_t last, float* scratch, float* sums) const {
    std::fill_n(sums, kPlaces * part.c_count * part.k_count, 0.0f);
    float* gradients = scratch + kPlaces * tiles_ * kPartChannels;
    for (std::int64_t block = first; block < last; ++block) {
      const Tiles tiles{block * tiles_, tiles_};
      kernels_.inputs(tiling_, tiles, {part.c, part.c_count, channels_}, x_, scratch);
      kernels_.gradients(tiling_, tiles, {part.k, part.k_count, out_}, grad_y_, gradients);
      kernels_.add_products(tiles_, part.c_count, part.k_count, scratch, gradients, sums);
    }
  }

  /// Adds the sums of kPanel channels from `first` on.
  static void add_sums(const Part& part, std::int64_t first, const float* from, float* to) {
    if (first >= part.c_count) return;
    for (std::int64_t place = 0; place < kPlaces; ++place) {
      const std::int64_t at = (place * part.c_count + first) * part.k_count;
      for (std::int64_t i = at; i < at + kPanel * part.k_count; ++i) to[i] += from[i];
    }
  }

  /// Transforms the sums of the part's channels first..last-1 and writes them to the result.
  void finish(const Part& part, std::int64_t first, std::int64_t last, const float* sums) const {
    float gradients[kTaps * kPanel * kColumns];
    float* to = result_.mutable_data_ptr<float>();
    for (std::int64_t c = first; c < std::min(last, part.c_count); c += kPanel) {
      for (std::int64_t k = 0; k < part.k_count; k += kColumns) {
        kernels_.weight_gradients(sums + c * part.k_count + k * kPanel, part.c_count * part.k_count, gradients);
        for (std::int64_t j = 0; j < kColumns; ++j) {
          float* row = to + ((part.k + k + j) * channels_ + part.c + c) * kTaps;
          for (std::int64_t i = 0; i < kPanel; ++i) {
            for (std::int64_t t = 0; t < kTaps; ++t) row[i * kTaps + t] = gradients[(t * kPanel + i) * kColumns + j];
          }
        }
      }
    }
  }

  const Kernels& kernels_;
  Tiling tiling_;
  std::int64_t channels_, out_, tiles_, blocks_, parts_;
  const float *x_, *grad_y_;
  Tensor result_;
};

}  // namespace

bool has_winograd(const Tensor& x, const Tensor& weight) {
  return best_kernels() != nullptr && x.dim() == 4 && x.numel() > 0 && weight.dim() == 4 && weight.size(2) == 3 &&
         weight.size(3) == 3 && weight.size(1) == x.size(1) && weight.size(0) % kColumns == 0 &&
         weight.size(1) % kColumns == 0 && weight.numel() > 0;
}

std::int64_t winograd_tiles(const Tensor& x) { return tiling_of(x).count(); }

Tensor winograd_conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  return convolve(x, transformed(weight, Direction::forward), weight.size(0), bias);
}

Tensor winograd_input_gradient(const Tensor& grad_y, const Tensor& weight) {
  return convolve(grad_y, transformed(weight, Direction::backward), weight.size(1), {});
}

Tensor winograd_weight_gradient(const Tensor& grad_y, const Tensor& x) { return WeightGradient(grad_y, x)(); }

}  // namespace casdm::convolution
