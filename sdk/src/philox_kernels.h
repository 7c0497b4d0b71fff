#pragma once

#include <cstdint>

/// The draws of casdm/philox.h on the CPU. All instruction sets give the same bits.
namespace casdm::philox {

enum class InstructionSet { baseline, avx2, avx512 };

/// The best one that this processor supports.
InstructionSet best_instruction_set();

/// The rounds of Philox 4x32-10.
constexpr int kRounds = 10;
constexpr std::uint32_t kFactor0 = 0xD2511F53, kFactor1 = 0xCD9E8D57;  ///< of words 0 and 2
constexpr std::uint32_t kStep0 = 0x9E3779B9, kStep1 = 0xBB67AE85;      ///< of the key, each round

/// The counter and key of an image's words.
struct Stream {
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;
};

/// Adjacent elements that one iteration of a kernel processes.
constexpr std::int64_t kBlock = 256;

/// N(0, 1) for the elements first..first+count-1 of an image; `first` is a multiple of 4.
void normal(InstructionSet set, const Stream& stream, std::int64_t first, std::int64_t count, float* out);

/// Dropout: a word under `threshold` drops its element, other elements are multiplied by `scale`.
struct DropoutRule {
  Stream stream;
  std::uint32_t threshold = 0;
  float scale = 1;
};

/// y = dropout(x) for the elements first..first+count-1 of an image, adjacent in memory; `first` is a multiple of 4.
template <class T>
void dropout(InstructionSet set, const DropoutRule& rule, std::int64_t first, std::int64_t count, const T* x, T* y);

/// y = dropout(x) for the pixels first..first+3 of a channels-last image; `first` and `pixels`, the total number of
/// pixels in the image, are multiples of 4. x and y point to pixel `first`.
template <class T>
void dropout_channels_last(InstructionSet set, const DropoutRule& rule, std::int64_t first, std::int64_t pixels,
                           std::int64_t channels, const T* x, T* y);

}  // namespace casdm::philox
