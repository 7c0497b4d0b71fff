#include "casdm/philox.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <deque>
#include <limits>
#include <mutex>

#include "casdm/block_kernel.h"
#include "casdm/error.h"
#include "casdm/on_device.h"
#include "casdm/parallel.h"
#include "casdm/text.h"
#include "philox_kernels.h"
#include "recording.h"

namespace casdm {
namespace {

constexpr std::int64_t kMostElements = std::int64_t{1}
                                       << 34;         // per image: the first word of the counter counts groups of 4
constexpr std::size_t kKeptSeeds = 8;                 // batches: for the noise, and for each network's dropout
constexpr std::int64_t kPiece = 64 * philox::kBlock;  // elements for which another thread pays off

/// The number of elements per image of `x`; throws Error if the number of seeds does not match the images.
std::int64_t elements_of_image(const char* what, const Tensor& x, const std::vector<std::uint64_t>& seeds) {
  if (!x.is_floating_point() || x.dim() == 0 || static_cast<std::size_t>(x.size(0)) != seeds.size()) {
    throw Error(text(what, " takes a floating-point tensor with one seed for each of its images, got ", x.scalar_type(),
                     " ", x.sizes(), " and ", seeds.size(), " seeds"));
  }
  const std::int64_t elements = x.size(0) == 0 ? 0 : x.numel() / x.size(0);
  if (elements > kMostElements) throw Error(text(what, ": an image has ", elements, " elements, more than 2^34"));
  return elements;
}

/// Calls work(image, first, count) for pieces of at most `piece` of the `count` parts of each image.
template <class Work>
void for_pieces(std::int64_t images, std::int64_t count, std::int64_t piece, const Work& work) {
  const std::int64_t pieces = (count + piece - 1) / piece;
  run_parallel(images * pieces, [&](std::int64_t index) {
    const std::int64_t first = index % pieces * piece;
    work(index / pieces, first, std::min(piece, count - first));
  });
}

Tensor low_half(const Tensor& x) { return x.bitwise_and(0xFFFFFFFFLL); }
Tensor high_half(const Tensor& x) { return low_half(x.bitwise_right_shift(32)); }

/// The seeds of a batch on its device, int64 [B]. The layers of a network ask for the same ones, so the last few are
/// cached.
Tensor seeds_on(c10::Device device, const std::vector<std::uint64_t>& seeds) {
  if (const Recording* recording = Recording::current()) return recording->on_device(seeds);
  struct Copy {
    std::vector<std::uint64_t> seeds;
    Tensor tensor;
  };
  static std::mutex mutex;
  static auto& copies = *new std::deque<Copy>;  // never destroyed: the device may be gone by then
  const std::lock_guard lock(mutex);
  for (const Copy& copy : copies) {
    if (copy.tensor.device() == device && copy.seeds == seeds) return copy.tensor;
  }
  if (copies.size() == kKeptSeeds) copies.pop_front();
  const Tensor numbers = at::tensor(std::vector<std::int64_t>(seeds.begin(), seeds.end()), at::kLong);
  return copies.emplace_back(seeds, to_device(numbers, device)).tensor;
}

#define CASDM_SHARED(...) #__VA_ARGS__
constexpr const char* kArithmetic =
#include "philox_shared.inc"
    ;
#undef CASDM_SHARED

/// CUDA C++ around kArithmetic; __fmul_rn and __fadd_rn are never contracted.
constexpr const char* kBefore = R"(
#define CASDM_INLINE inline
namespace casdm_philox {
inline unsigned high_product(unsigned a, unsigned b) { return __umulhi(a, b); }
inline unsigned bits_of(float x) { return __float_as_uint(x); }
inline float float_of(unsigned bits) { return __uint_as_float(bits); }
inline float times(float a, float b) { return __fmul_rn(a, b); }
inline float plus(float a, float b) { return __fadd_rn(a, b); }
inline float root(float x) { return __fsqrt_rn(x); }
)";
constexpr const char* kAfter = R"(
struct Words { unsigned first, second; };  // of the pair that element i is in
inline Words words(unsigned i, unsigned seed0, unsigned seed1, unsigned stream0, unsigned stream1) {
  unsigned c0 = i / 4, c1 = 0, c2 = stream0, c3 = stream1;
  rounds<0>(c0, c1, c2, c3, seed0, seed1);
  return i & 2 ? Words{c2, c3} : Words{c0, c1};
}
}  // namespace casdm_philox
)";

ElementFunction element_function(const char* name, const char* source) {
  using namespace philox;
  const std::string constants =
      text("constexpr int kRounds = ", kRounds, ";\nconstexpr unsigned kFactor0 = ", kFactor0,
           "u, kFactor1 = ", kFactor1, "u, kStep0 = ", kStep0, "u, kStep1 = ", kStep1, "u;\n");
  return {name, text(kBefore, constants, kArithmetic, kAfter, source)};
}

/// Evaluates `function`, of (element, seed's halves, numbers...), for `elements` elements of each image: int32
/// [seeds.size(), elements]; undefined if there are no kernels.
Tensor for_elements(const ElementFunction& function, const std::vector<std::uint64_t>& seeds, std::int64_t elements,
                    const std::vector<std::int64_t>& numbers, c10::Device device) {
  if (elements > std::numeric_limits<std::int32_t>::max()) return {};
  const Tensor halves = seeds_on(device, seeds).view(at::kInt).view({-1, 2});
  const Tensor element = at::arange(elements, at::TensorOptions(at::kInt).device(device));
  return for_each_element(function, {element, halves.narrow(1, 0, 1), halves.narrow(1, 1, 1)}, numbers);
}

/// The bits of a word as the int32 that for_each_element passes to the function.
std::int64_t as_int(std::uint64_t word) { return std::bit_cast<std::int32_t>(static_cast<std::uint32_t>(word)); }

/// N(0, 1), float32 [seeds.size(), elements], on a device other than the CPU.
Tensor normal_on(c10::Device device, const std::vector<std::uint64_t>& seeds, std::int64_t elements) {
  static const ElementFunction function = element_function("casdm_normal", R"(
template <typename T> T casdm_normal(T element, T seed0, T seed1) {
  const casdm_philox::Words pair = casdm_philox::words(element, seed0, seed1, 0, 0);
  float along, across;
  casdm_philox::on_circle(pair.second, casdm_philox::radius(pair.first), along, across);
  return casdm_philox::bits_of(element & 1 ? across : along);
})");
  const Tensor bits = for_elements(function, seeds, elements, {}, device);
  if (bits.defined()) return bits.view(at::kFloat);
  return normal_from_words(philox_words(seeds, 0, elements + elements % 2, device)).narrow(1, 0, elements);
}

/// Which elements dropout keeps, bool [seeds.size(), elements], on a device other than the CPU.
Tensor kept_on(c10::Device device, const Dropout& dropout, std::uint64_t layer, std::int64_t elements,
               std::uint32_t threshold) {
  static const ElementFunction function = element_function("casdm_kept", R"(
template <typename T> T casdm_kept(T element, T seed0, T seed1, T layer0, T layer1, T threshold) {
  const casdm_philox::Words pair = casdm_philox::words(element, seed0, seed1, layer0, layer1);
  return (element & 1 ? pair.second : pair.first) >= static_cast<unsigned>(threshold);
})");
  const std::vector<std::int64_t> numbers = {as_int(layer), as_int(layer >> 32), as_int(threshold)};
  const Tensor kept = for_elements(function, dropout.seeds, elements, numbers, device);
  if (kept.defined()) return kept.to(at::kBool);
  return philox_words(dropout.seeds, layer, elements, device) >= static_cast<std::int64_t>(threshold);
}

/// The factor for elements that are kept, and the limit: words below it drop their element.
struct Odds {
  double scale;
  std::uint32_t threshold;
};

Odds odds(double p) {
  if (!(p >= 0 && p < 1)) throw Error(text("dropout with probability ", number(p), ": expected 0 <= p < 1"));
  return {1 / (1 - p), static_cast<std::uint32_t>(std::min(std::round(p * 0x1p32), 0x1p32 - 1))};
}

template <class T>
void drop_in_order(const Tensor& x, const Tensor& y, const std::vector<philox::DropoutRule>& rules) {
  const T* from = x.const_data_ptr<T>();
  T* to = y.mutable_data_ptr<T>();
  const std::int64_t elements = x.numel() / x.size(0);
  for_pieces(x.size(0), elements, kPiece, [&](std::int64_t image, std::int64_t first, std::int64_t count) {
    const std::int64_t at = image * elements + first;
    philox::dropout(philox::best_instruction_set(), rules[image], first, count, from + at, to + at);
  });
}

template <class T>
void drop_channels_last(const Tensor& x, const Tensor& y, const std::vector<philox::DropoutRule>& rules) {
  const T* from = x.const_data_ptr<T>();
  T* to = y.mutable_data_ptr<T>();
  const std::int64_t channels = x.size(1), pixels = x.size(2) * x.size(3);
  const std::int64_t piece = std::max<std::int64_t>(kPiece / (4 * channels), 1);
  for_pieces(x.size(0), pixels / 4, piece, [&](std::int64_t image, std::int64_t first, std::int64_t count) {
    for (std::int64_t pixel = 4 * first; pixel < 4 * (first + count); pixel += 4) {
      const std::int64_t at = (image * pixels + pixel) * channels;
      philox::dropout_channels_last(philox::best_instruction_set(), rules[image], pixel, pixels, channels, from + at,
                                    to + at);
    }
  });
}

Tensor dropped_on_cpu(const Tensor& x, const std::vector<philox::DropoutRule>& rules) {
  const Tensor y = at::empty_like(x);
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, x.scalar_type(), "dropout", [&] {
    x.is_contiguous() ? drop_in_order<scalar_t>(x, y, rules) : drop_channels_last<scalar_t>(x, y, rules);
  });
  return y;
}

/// Each thread of the kernel processes the four elements of one counter.
constexpr const char* kDropout = R"(
template <int kPhase> void casdm_dropout(const Block& b) {
  const int quads = b.numbers[0], images = b.numbers[1], elements = b.numbers[2];
  const int channels = b.numbers[3], pixels = b.numbers[4];  // of channels-last images; else 0
  const int thread = b.index * b.threads + b.thread, image = thread / quads, place = thread % quads;
  if (image >= images) return;
  const int first = channels ? place % channels * (pixels / 4) + place / channels : place;
  const long long step = channels ? channels : 1;
  const long long at = static_cast<long long>(image) * elements +
                       (channels ? place / channels * 4LL * channels + place % channels : 4LL * place);
  const int* seed = b.input<int>(1) + 2 * image;
  unsigned c0 = first, c1 = 0, c2 = b.numbers[5], c3 = b.numbers[6];
  casdm_philox::rounds<0>(c0, c1, c2, c3, seed[0], seed[1]);
  const unsigned words[4] = {c0, c1, c2, c3}, threshold = b.numbers[7];
  const float scale = casdm_philox::float_of(b.numbers[8]);
  const Value* x = b.input<Value>(0);
  Value* y = b.output<Value>(2);
  for (int j = 0; j < 4 && 4LL * first + j < elements; ++j) {
    store(y[at + j * step], casdm_philox::times(load(x[at + j * step]), words[j] < threshold ? 0.0f : scale));
  }
}
)";

BlockKernel dropout_kernel(const char* type) {
  const std::string name = text("casdm_dropout_", type);
  const std::string source = text("using Value = ", type, ";\n", kDropout, "template <int kPhase> void ", name,
                                  "(const Block& b) { casdm_dropout<kPhase>(b); }\n");
  return {name, element_function(name.c_str(), source.c_str()).source};
}

/// Whether there is a dropout kernel for x, which is not on the CPU.
bool has_dropout_kernel(const Tensor& x) {
  return takes_block_kernels(x.device()) && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) &&
         x.numel() <= std::numeric_limits<std::int32_t>::max();
}

Tensor dropped_on_device(const Tensor& x, const std::vector<std::uint64_t>& seeds, std::uint64_t layer, double p) {
  static const BlockKernel of_float = dropout_kernel("float"), of_bfloat16 = dropout_kernel("BFloat16");
  constexpr std::int64_t kThreads = 256;
  const auto [scale, threshold] = odds(p);
  const bool is_channels_last = !x.is_contiguous();
  const Tensor y = at::empty_like(x);
  const std::int64_t elements = x.numel() / x.size(0), quads = (elements + 3) / 4;
  BlockLaunch run;
  run.tensors = {x, seeds_on(x.device(), seeds).view(at::kInt), y};
  run.numbers = {quads,
                 x.size(0),
                 elements,
                 is_channels_last ? x.size(1) : 0,
                 is_channels_last ? x.size(2) * x.size(3) : 0,
                 as_int(layer),
                 as_int(layer >> 32),
                 as_int(threshold),
                 as_int(std::bit_cast<std::uint32_t>(static_cast<float>(scale)))};
  run.threads = kThreads;
  run.blocks = (x.size(0) * quads + kThreads - 1) / kThreads;
  launch(x.scalar_type() == at::kFloat ? of_float : of_bfloat16, run);
  return y;
}

/// Dropout on the CPU, or on a device with a kernel for it.
/// @param x  contiguous, or channels-last with a multiple of four pixels
Tensor dropped(const Tensor& x, const std::vector<std::uint64_t>& seeds, std::uint64_t layer, double p) {
  if (!x.is_cpu()) return dropped_on_device(x, seeds, layer, p);
  const auto [scale, threshold] = odds(p);
  std::vector<philox::DropoutRule> rules;
  for (const std::uint64_t seed : seeds) rules.push_back({{seed, layer}, threshold, static_cast<float>(scale)});
  return dropped_on_cpu(x, rules);
}

/// Dropout on the CPU and on devices with a kernel for it, in the memory format of x; its gradient is the dropout of
/// the gradient.
class DropoutFunction : public torch::autograd::Function<DropoutFunction> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* ctx, const Tensor& x, const std::vector<std::int64_t>& seeds,
                        std::int64_t layer, double p) {
    ctx->saved_data["seeds"] = seeds;
    ctx->saved_data["layer"] = layer;
    ctx->saved_data["p"] = p;
    const bool is_channels_last = x.dim() == 4 && !x.is_contiguous() && x.is_contiguous(at::MemoryFormat::ChannelsLast);
    // The four elements of a counter are then pixels of one channel.
    const bool has_fours = is_channels_last && x.size(2) * x.size(3) % 4 == 0;
    const Tensor y =
        dropped(has_fours ? x : x.contiguous(), {seeds.begin(), seeds.end()}, static_cast<std::uint64_t>(layer), p);
    return is_channels_last ? y.contiguous(at::MemoryFormat::ChannelsLast) : y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 const torch::autograd::variable_list& grads) {
    const Tensor grad = apply(grads[0], ctx->saved_data["seeds"].toIntVector(), ctx->saved_data["layer"].toInt(),
                              ctx->saved_data["p"].toDouble());
    return {grad, Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor philox_words(const std::vector<std::uint64_t>& seeds, std::uint64_t stream, std::int64_t count,
                    c10::Device device) {
  const Tensor keys = seeds_on(device, seeds).unsqueeze(1);
  const Tensor key0 = low_half(keys), key1 = high_half(keys);
  const at::TensorOptions options = at::TensorOptions(at::kLong).device(device);
  Tensor c0 = at::arange((count + 3) / 4, options).unsqueeze(0);
  Tensor c1 = at::zeros({1, 1}, options);
  Tensor c2 = at::full({1, 1}, static_cast<std::int64_t>(stream & 0xFFFFFFFF), options);
  Tensor c3 = at::full({1, 1}, static_cast<std::int64_t>(stream >> 32), options);
  for (int round = 0; round < philox::kRounds; ++round) {
    // 64-bit products: signed numbers wrap around to the same bits.
    const Tensor p0 = c0 * static_cast<std::int64_t>(philox::kFactor0);
    const Tensor p1 = c2 * static_cast<std::int64_t>(philox::kFactor1);
    const Tensor k0 = low_half(key0 + static_cast<std::int64_t>(philox::kStep0) * round);
    const Tensor k1 = low_half(key1 + static_cast<std::int64_t>(philox::kStep1) * round);
    c0 = high_half(p1).bitwise_xor(c1).bitwise_xor(k0);
    c2 = high_half(p0).bitwise_xor(c3).bitwise_xor(k1);
    c1 = low_half(p1);
    c3 = low_half(p0);
  }
  return at::stack({c0, c1, c2, c3}, -1).flatten(1).narrow(1, 0, count);
}

Tensor normal_from_words(const Tensor& words) {
  const Tensor pairs = words.unflatten(-1, {-1, 2});
  // sqrt(-2 ln u), as in philox_kernels.cpp, where the constants are explained.
  const Tensor w = pairs.select(-1, 0);
  const Tensor whole = w.bitwise_right_shift(16).to(at::kFloat) * 65536.0 + w.bitwise_and(0xFFFF).to(at::kFloat);
  const Tensor bits = ((whole + 0.5) * 0x1p-32).view(at::kInt) - 0x3F3504F3;
  const Tensor exponent = bits.bitwise_right_shift(23).to(at::kFloat);
  const Tensor x = (bits.bitwise_and(0x7FFFFF) + 0x3F3504F3).view(at::kFloat) - 1.0;
  const Tensor z = x * x;
  Tensor p = x * 7.0376836292e-2f - 1.1514610310e-1f;
  for (const float coefficient : {1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f, -1.6668057665e-1f,
                                  2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f}) {
    p = p * x + coefficient;
  }
  p = p * x * z - exponent * 2.12194440e-4f;
  const Tensor radius = (((x + (p - z * 0.5)) + exponent * 0.693359375) * -2.0).sqrt();

  const Tensor turned = (pairs.select(-1, 1) + 0x20000000).bitwise_and(0xFFFFFFFFLL);
  const Tensor quadrant = turned.bitwise_right_shift(30);
  const Tensor angle = (turned.bitwise_and(0x3FFFFFFF) - 0x20000000).to(at::kFloat) * 1.46291807926715968e-9f;
  const Tensor square = angle * angle;
  const Tensor sine =
      ((square * -1.9515295891e-4f + 8.3321608736e-3f) * square - 1.6666654611e-1f) * square * angle + angle;
  const Tensor cosine =
      ((square * 2.443315711809948e-5f - 1.388731625493765e-3f) * square + 4.166664568298827e-2f) * square * square -
      square * 0.5 + 1.0;
  const Tensor is_swapped = quadrant.bitwise_and(1).to(at::kBool);
  const Tensor along_sign = 1 - (quadrant + 1).bitwise_and(2);
  const Tensor across_sign = 1 - quadrant.bitwise_and(2);
  const Tensor along = radius * (at::where(is_swapped, sine, cosine) * along_sign);
  const Tensor across = radius * (at::where(is_swapped, cosine, sine) * across_sign);
  return at::stack({along, across}, -1).flatten(-2);
}

Tensor normal_like(const Tensor& like, const std::vector<std::uint64_t>& seeds) {
  const std::int64_t elements = elements_of_image("normal_like", like, seeds);
  Tensor noise;
  if (like.is_cpu()) {
    noise = at::empty(like.sizes(), like.options().dtype(at::kFloat).memory_format(at::MemoryFormat::Contiguous));
    float* out = noise.mutable_data_ptr<float>();
    for_pieces(like.size(0), elements, kPiece, [&](std::int64_t image, std::int64_t first, std::int64_t count) {
      philox::normal(philox::best_instruction_set(), {seeds[static_cast<std::size_t>(image)], 0}, first, count,
                     out + image * elements + first);
    });
  } else {
    noise = normal_on(like.device(), seeds, elements).reshape(like.sizes());
  }
  return like.is_contiguous() ? noise.to(like.scalar_type()) : at::empty_like(like).copy_(noise);
}

Tensor Dropout::apply(const Tensor& x, double p, std::uint64_t layer) const {
  const auto [scale, threshold] = odds(p);
  if (p == 0 || seeds.empty()) return x;
  const std::int64_t elements = elements_of_image("dropout", x, seeds);
  if (elements == 0) return x;
  if (x.is_cpu() || has_dropout_kernel(x)) {
    return DropoutFunction::apply(x, std::vector<std::int64_t>(seeds.begin(), seeds.end()),
                                  static_cast<std::int64_t>(layer), p);
  }
  return at::native_dropout_backward(x, kept_on(x.device(), *this, layer, elements, threshold).view(x.sizes()), scale);
}

}  // namespace casdm
