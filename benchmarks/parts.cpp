// The parts of casdm that have a counterpart in a library, each beside it, by Google Benchmark: convolutions, norms,
// draws, pooling and AdamW beside LibTorch, images decoded and resized beside libjpeg-turbo and libpng, which only
// decode. The time of a convolution includes the transform of its weight.
//
//     OMP_NUM_THREADS=2 chrt -f 10 parts_benchmark --benchmark_filter=norm
//
// cpu/compare.py runs all of it, and takes the name before the last slash for the part.
#include <ATen/ATen.h>
#include <benchmark/benchmark.h>
#include <png.h>
#include <torch/csrc/autograd/autograd.h>

#include <array>
#include <cstdio>  // jpeglib.h needs it
#include <functional>
#include <string>
#include <vector>

#include <jpeglib.h>

#include "backbone_unet/norm.h"
#include "casdm/optimizer.h"
#include "casdm/philox.h"
#include "casdm/prepare_image.h"
#include "convolution/winograd.h"
#include "dataset_images/jpeg_decoder.h"
#include "dataset_images/png_decoder.h"
#include "datasets/image_makers.h"
#include "support/components.h"
#include "trunks/dense_pool.h"

namespace {

using namespace casdm;
using Work = std::function<void()>;

Tensor channels_last(at::IntArrayRef shape) { return at::randn(shape).contiguous(at::MemoryFormat::ChannelsLast); }

void add(const std::string& name, const Work& work) {
  benchmark::RegisterBenchmark(name.c_str(),
                               [work](benchmark::State& state) {
                                 for (auto _ : state) work();
                               })
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime();
}

void compare(const std::string& part, const Work& ours, const Work& theirs) {
  add(part + "/casdm", ours);
  add(part + "/library", theirs);
}

/// Forward and backward, to all of `inputs`.
Work with_gradients(const std::function<Tensor()>& forward, const std::vector<Tensor>& inputs) {
  return [=] {
    const Tensor y = forward();
    torch::autograd::grad({y}, inputs, {at::ones_like(y)});
  };
}

void compare_convolutions(std::int64_t batch, std::int64_t size, std::int64_t in, std::int64_t out) {
  const Tensor x = channels_last({batch, in, size, size}), grad_y = channels_last({batch, out, size, size});
  const Tensor weight = at::randn({out, in, 3, 3}), bias = at::randn({out});
  if (!convolution::has_winograd(x, weight)) return;
  const std::vector<std::int64_t> one = {1, 1}, none = {0, 0};
  const auto backward = [=](std::array<bool, 3> wanted) {
    at::convolution_backward(grad_y, x, weight, at::IntArrayRef(out), one, one, one, false, none, 1, wanted);
  };
  const std::string shape = std::to_string(batch) + " x " + std::to_string(in) + " to " + std::to_string(out) +
                            " channels, " + std::to_string(size) + " px";
  const auto named = [&](const char* what) { return std::string("convolution, ") + what + ", " + shape; };
  compare(
      named("forward"), [=] { convolution::winograd_conv2d(x, weight, bias); },
      [=] { at::conv2d(x, weight, bias, 1, 1); });
  compare(
      named("gradient of x"), [=] { convolution::winograd_input_gradient(grad_y, weight); },
      [=] {
        backward({true, false, false});
      });
  compare(
      named("gradient of the weight"), [=] { convolution::winograd_weight_gradient(grad_y, x); },
      [=] {
        backward({false, true, false});
      });
}

void compare_norms() {
  const Tensor x = channels_last({16, 128, 16, 16}).requires_grad_(), scale_shift = at::randn({16, 256});
  const Tensor weight = at::ones(128).requires_grad_(), bias = at::zeros(128).requires_grad_();
  unet::NormArguments arguments;
  arguments.weight = weight;
  arguments.bias = bias;
  arguments.scale_shift = scale_shift;
  arguments.groups = 32;
  arguments.activation = unet::Activation::silu;
  const auto ours = [=] { return unet::group_norm(x, arguments); };
  const auto theirs = [=] {
    const std::vector<Tensor> parts = scale_shift.view({16, 256, 1, 1}).chunk(2, 1);
    return at::silu(at::group_norm(x, 32, weight, bias) * (1 + parts[0]) + parts[1]);
  };
  compare("group norm, scale, shift and SiLU, with gradients", with_gradients(ours, {x, weight, bias}),
          with_gradients(theirs, {x, weight, bias}));
}

void compare_draws() {
  const Tensor x = channels_last({16, 128, 16, 16}).requires_grad_();
  const std::vector<std::uint64_t> seeds(16, 3);
  compare(
      "normal", [=] { normal_like(x, seeds); }, [=] { at::empty_like(x).normal_(); });
  compare("dropout, with gradients", with_gradients([=] { return Dropout{seeds}.apply(x, 0.1, 1); }, {x}),
          with_gradients([=] { return at::dropout(x, 0.1, true); }, {x}));
}

void compare_pools() {
  const Tensor x = channels_last({16, 64, 64, 64}).requires_grad_();
  compare("max pooling, 2x2 with stride 1, with gradients",
          with_gradients([=] { return trunks::dense_max_pool(x, 2); }, {x}),
          with_gradients([=] { return at::max_pool2d(x, 2, 1); }, {x}));
}

void compare_optimizers() {
  const std::int64_t count = 10 << 20;
  const Tensor weights = at::randn(count), gradients = at::randn(count);
  const std::vector<OptimizedParameter> one = {{"w", ParameterRole::matrix, 0, weights, gradients}};
  const auto adamw = testing::make<Optimizer>("adamw", "", {one, weights, gradients});
  const Tensor first = at::zeros(count), second = at::zeros(count), steps = at::ones({});
  compare(
      "AdamW, 10M weights", [=] { adamw->step({.learning_rate = 1e-4}); },
      [=] {
        at::_fused_adamw_({weights}, {gradients}, {first}, {second}, {}, {steps}, /*lr=*/1e-4, 0.9, 0.999,
                          /*weight_decay=*/0, 1e-8, /*amsgrad=*/false, /*maximize=*/false);
      });
}

std::vector<std::uint8_t> pixels_by_libjpeg(const testing::Bytes& file) {
  jpeg_decompress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_decompress(&jpeg);
  jpeg_mem_src(&jpeg, file.data(), file.size());
  jpeg_read_header(&jpeg, TRUE);
  jpeg_start_decompress(&jpeg);
  const std::size_t stride = std::size_t{3} * jpeg.output_width;
  std::vector<std::uint8_t> pixels(stride * jpeg.output_height);
  while (jpeg.output_scanline < jpeg.output_height) {
    JSAMPROW row = pixels.data() + stride * jpeg.output_scanline;
    jpeg_read_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_decompress(&jpeg);
  jpeg_destroy_decompress(&jpeg);
  return pixels;
}

std::vector<std::uint8_t> pixels_by_libpng(const testing::Bytes& file) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  png_image_begin_read_from_memory(&image, file.data(), file.size());
  image.format = PNG_FORMAT_RGB;
  std::vector<std::uint8_t> pixels(PNG_IMAGE_SIZE(image));
  png_image_finish_read(&image, nullptr, pixels.data(), 0, nullptr);
  return pixels;
}

void compare_images() {
  const Dataset::Spec spec{ImageShape::square(3, 64)};
  const testing::Bytes jpeg = testing::jpeg_of(testing::pattern(256, 256, 0));
  const testing::Bytes png = testing::png_of(testing::pattern(64, 64, 0));
  compare(
      "JPEG of 256 px, to 64 px", [=] { dataset_images::decode_jpeg(jpeg, spec); },
      [=] { benchmark::DoNotOptimize(pixels_by_libjpeg(jpeg)); });
  compare(
      "PNG of 64 px", [=] { dataset_images::decode_png(png, spec); },
      [=] { benchmark::DoNotOptimize(pixels_by_libpng(png)); });
  const Image image{256, 256, 3, std::vector<std::uint8_t>(256 * 256 * 3, 100)};
  add("image of 256 px to 64 px/casdm", [=] { prepare_image(image, spec); });
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  for (const auto& [batch, size, in, out] : std::vector<std::array<std::int64_t, 4>>{{16, 16, 32, 32},
                                                                                     {16, 8, 64, 64},
                                                                                     {16, 32, 64, 64},
                                                                                     {16, 16, 128, 128},
                                                                                     {16, 4, 128, 128},
                                                                                     {8, 32, 128, 128},
                                                                                     {8, 16, 512, 256},
                                                                                     {8, 8, 512, 512},
                                                                                     {64, 16, 128, 128},
                                                                                     {16, 17, 256, 256},
                                                                                     {16, 9, 512, 512}}) {
    compare_convolutions(batch, size, in, out);
  }
  compare_norms();
  compare_draws();
  compare_pools();
  compare_optimizers();
  compare_images();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
