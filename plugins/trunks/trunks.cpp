#include "trunks.h"

namespace casdm::trunks {
namespace {

using Kind = Layer::Kind;

Layer convolution(int index, std::int64_t in, std::int64_t out, std::int64_t kernel = 3, std::int64_t stride = 1,
                  std::int64_t padding = 1) {
  return {.kind = Kind::convolution,
          .index = index,
          .in = in,
          .out = out,
          .kernel = kernel,
          .stride = stride,
          .padding = padding};
}

Layer relu() { return {}; }

Layer pool(Kind kind, std::int64_t kernel, std::int64_t stride, bool ceil_mode = false) {
  return {.kind = kind, .kernel = kernel, .stride = stride, .ceil_mode = ceil_mode};
}

Layer blur(int index, std::int64_t channels, std::int64_t stride) {
  return {
      .kind = Kind::blur, .index = index, .in = channels, .out = channels, .kernel = 3, .stride = stride, .padding = 2};
}

Layer fire(int index, std::int64_t in, std::int64_t squeeze, std::int64_t out) {
  return {.kind = Kind::fire, .index = index, .in = in, .out = out, .squeeze = squeeze};
}

/// VGG16's five blocks. `pools(block, index)` returns the layers before blocks 1..4; the block's first convolution has
/// position `index` in the published network, which `pools` may increase.
template <class Pools>
Trunk vgg16(const Pools& pools) {
  constexpr std::int64_t kChannels[] = {64, 128, 256, 512, 512};
  constexpr int kConvolutions[] = {2, 2, 3, 3, 3};
  Trunk trunk;
  std::int64_t in = 3;
  int index = 0;
  for (int block = 0; block < 5; ++block) {
    std::vector<Layer> slice;
    if (block > 0) slice = pools(in, index);
    for (int i = 0; i < kConvolutions[block]; ++i, index += 2) {
      slice.push_back(convolution(index, in, kChannels[block]));
      slice.push_back(relu());
      in = kChannels[block];
    }
    trunk.slices.push_back(slice);
    trunk.channels.push_back(in);
  }
  trunk.minimum_size = 16;
  return trunk;
}

Trunk squeezenet() {
  const Layer down = pool(Kind::max_pool, 3, 2, true);
  return {.slices = {{convolution(0, 3, 64, 3, 2, 0), relu()},
                     {down, fire(3, 64, 16, 128), fire(4, 128, 16, 128)},
                     {down, fire(6, 128, 32, 256), fire(7, 256, 32, 256)},
                     {down, fire(9, 256, 48, 384)},
                     {fire(10, 384, 48, 384)},
                     {fire(11, 384, 64, 512)},
                     {fire(12, 512, 64, 512)}},
          .channels = {64, 128, 256, 384, 384, 512, 512},
          .minimum_size = 17};
}

Trunk alexnet() {
  const Layer down = pool(Kind::max_pool, 3, 2);
  return {.slices = {{convolution(0, 3, 64, 11, 4, 2), relu()},
                     {down, convolution(3, 64, 192, 5, 1, 2), relu()},
                     {down, convolution(6, 192, 384), relu()},
                     {convolution(8, 384, 256), relu()},
                     {convolution(10, 256, 256), relu()}},
          .channels = {64, 192, 384, 256, 256},
          .minimum_size = 31};
}

Trunk shift_tolerant_alexnet() {
  const Layer dense_pool = pool(Kind::max_pool, 3, 1);
  return {.slices = {{convolution(0, 3, 64, 11, 1, 2), blur(1, 64, 2), relu()},
                     {dense_pool, blur(4, 64, 2), convolution(5, 64, 192, 5, 1, 2), relu()},
                     {dense_pool, blur(8, 192, 2), convolution(9, 192, 384), relu()},
                     {convolution(11, 384, 256), relu()},
                     {convolution(13, 256, 256), relu()}},
          .channels = {64, 192, 384, 256, 256},
          .minimum_size = 16};
}

/// VGG16 with one layer before each block but the first.
Trunk vgg16_between(const Layer& down) {
  return vgg16([&](std::int64_t, int& index) {
    index += 1;
    return std::vector<Layer>{down};
  });
}

}  // namespace

Trunk lpips_trunk(const std::string& net, bool average_pool) {
  if (net == "squeezenet") return squeezenet();
  if (net == "alexnet") return alexnet();
  return vgg16_between(pool(average_pool ? Kind::average_pool : Kind::max_pool, 2, 2));
}

Trunk dists_trunk() { return vgg16_between(pool(Kind::l2_pool, 3, 2)); }

Trunk st_lpips_trunk(const std::string& net) {
  if (net == "alexnet") return shift_tolerant_alexnet();
  return vgg16([](std::int64_t channels, int& index) {
    index += 2;
    return std::vector<Layer>{pool(Kind::max_pool, 2, 1), blur(index - 1, channels, 2)};
  });
}

}  // namespace casdm::trunks
