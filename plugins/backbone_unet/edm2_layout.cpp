#include "edm2_layout.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "casdm/error.h"
#include "casdm/text.h"
#include "options.h"
#include "state_shapes/state_shapes.h"

namespace casdm::unet {

namespace {

using Edm2Kind = Edm2Block::Kind;

constexpr std::int64_t kMostLevels = 32;
constexpr std::int64_t kLargestWidth = 1000000;

std::vector<std::int64_t> widths_of(const Edm2Options& o) {
  std::vector<std::int64_t> widths;
  for (std::size_t i = 0; i < o.channel_mult.size(); ++i) {
    const double width = static_cast<double>(o.channels) * o.channel_mult[i];
    const double whole = std::round(width);  // a third of 9 is not quite 3
    if (!(whole >= 1) || whole > kLargestWidth || std::abs(width - whole) > 1e-9 * whole) {
      throw ConfigError(text("channels = ", o.channels, " times channel_mult[", i, "] = ", number(o.channel_mult[i]),
                             " is ", number(width), ": expected a whole number of at least 1"));
    }
    widths.push_back(static_cast<std::int64_t>(whole));
  }
  return widths;
}

/// All tensors of the network: its parameters, and two buffers.
std::vector<NamedShape> tensors_of(const Edm2Layout& layout) {
  const std::int64_t first = layout.widths.front(), embedding = layout.embedding();
  std::vector<NamedShape> result = {{"emb_fourier.freqs", {first}},
                                    {"emb_fourier.phases", {first}},
                                    {"emb_noise.weight", {embedding, first}},
                                    {layout.part("enc", 0, "conv.weight"), {first, layout.image.channels + 1, 3, 3}},
                                    {"out_conv.weight", {layout.out_channels, first, 3, 3}},
                                    {"out_gain", {}}};
  const auto add = [&](std::string name, Shape shape) { result.push_back({std::move(name), std::move(shape)}); };
  if (layout.num_classes > 0) add("emb_label.weight", {embedding, layout.num_classes});
  if (layout.augment_size > 0) add("emb_augment.weight", {embedding, layout.augment_size});
  for (const Edm2Part& part : parts_of(layout)) {
    const std::int64_t in = part.in, out = part.out;
    add(part.name + ".emb_gain", {});
    add(part.name + ".conv_res0.weight", {out, part.kind == Edm2Kind::encoder ? out : in, 3, 3});
    add(part.name + ".emb_linear.weight", {out, embedding});
    add(part.name + ".conv_res1.weight", {out, out, 3, 3});
    if (in != out) add(part.name + ".conv_skip.weight", {out, in, 1, 1});
    if (!part.attends) continue;
    add(part.name + ".attn_qkv.weight", {3 * out, out, 1, 1});
    add(part.name + ".attn_proj.weight", {out, out, 1, 1});
  }
  return result;
}

/// `size_of`; 0 also if a network cannot have that size.
std::int64_t width_of(const Shapes& shapes, const std::string& name, std::size_t axis) {
  const std::int64_t size = size_of(shapes, name, axis);
  return size <= kLargestWidth ? size : 0;
}

/// Height and width of the images, from the name of the first convolution.
ImageShape image_in(const Shapes& shapes) {
  ImageShape image{0, 0, 0};
  for (auto at = shapes.lower_bound("enc."); at != shapes.end() && at->first.starts_with("enc."); ++at) {
    int height = 0, width = 0, read = 0;
    if (std::sscanf(at->first.c_str(), "enc.%6dx%6d_conv.weight%n", &height, &width, &read) != 2) continue;
    if (read == 0 || static_cast<std::size_t>(read) != at->first.size()) continue;
    image.height = height;
    image.width = width;
    image.channels = width_of(shapes, at->first, 1) - 1;
  }
  return image;
}

/// The layout that names and shapes describe if they belong to a network; checked afterwards, tensor by tensor.
Edm2Layout guessed(const Shapes& shapes) {
  Edm2Layout layout;
  layout.image = image_in(shapes);
  layout.out_channels = width_of(shapes, "out_conv.weight", 0);
  layout.num_classes = width_of(shapes, "emb_label.weight", 1);
  layout.augment_size = width_of(shapes, "emb_augment.weight", 1);
  for (std::size_t level = 0; level < kMostLevels; ++level) {
    const std::int64_t width = width_of(shapes, layout.part("enc", level, "block0.conv_res0.weight"), 0);
    if (width < 1) break;
    layout.widths.push_back(width);
    layout.has_attention.push_back(shapes.contains(layout.part("enc", level, "block0.attn_qkv.weight")));
  }
  while (layout.num_res_blocks < kMostBlocks &&
         shapes.contains(layout.part("enc", 0, text("block", layout.num_res_blocks, ".conv_res0.weight")))) {
    ++layout.num_res_blocks;
  }
  return layout;
}

}  // namespace

std::int64_t Edm2Layout::embedding() const { return *std::max_element(widths.begin(), widths.end()); }

std::string Edm2Layout::part(const char* side, std::size_t level, const std::string& what) const {
  return text(side, ".", image.height >> level, "x", image.width >> level, "_", what);
}

Edm2Layout layout_of(const Edm2Options& o, const Backbone::Spec& spec) {
  if (o.channel_mult.empty()) throw ConfigError("channel_mult is empty: give one factor per resolution, as [1, 2, 2]");
  Edm2Layout layout;
  layout.image = spec.image;
  layout.out_channels = spec.out_channels;
  layout.num_classes = spec.condition.num_classes;
  layout.augment_size = spec.condition.augment_size;
  layout.num_res_blocks = o.num_res_blocks;
  layout.widths = widths_of(o);
  const std::size_t halvings = layout.widths.size() - 1;
  const std::int64_t factor = halvings < kMostLevels ? std::int64_t{1} << halvings : 0;
  if (factor == 0 || spec.image.height % factor != 0 || spec.image.width % factor != 0) {
    throw ConfigError(text("images of ", spec.image.height, " x ", spec.image.width, " pixels cannot be halved ",
                           halvings, " times, as the ", layout.widths.size(),
                           " entries of channel_mult ask: choose another size, or fewer entries"));
  }
  const auto is_asked_for = [&](std::int64_t size) {
    return std::find(o.attention_resolutions.begin(), o.attention_resolutions.end(), size) !=
           o.attention_resolutions.end();
  };
  std::vector<std::string> sizes;
  for (std::size_t level = 0; level < layout.widths.size(); ++level) {
    const std::int64_t size = spec.image.height >> level;
    sizes.push_back(std::to_string(size));
    layout.has_attention.push_back(is_asked_for(size));
  }
  for (const std::int64_t size : o.attention_resolutions) {
    if (std::find(sizes.begin(), sizes.end(), std::to_string(size)) == sizes.end()) {
      throw ConfigError(text("attention_resolutions holds ", size, ", but the feature maps have ", join(sizes, ", "),
                             " pixels: choose among these, or leave it out"));
    }
  }
  for (std::size_t level = 0; level < layout.widths.size(); ++level) {
    const bool attends = level == halvings || layout.has_attention[level];
    if (attends && layout.widths[level] % o.num_head_channels != 0) {
      throw ConfigError(text("num_head_channels = ", o.num_head_channels, " does not divide the ", layout.widths[level],
                             " channels of the attention at ", sizes[level], " pixels: choose a divisor"));
    }
  }
  return layout;
}

std::vector<Edm2Part> parts_of(const Edm2Layout& layout) {
  std::vector<Edm2Part> result;
  std::int64_t width = layout.widths.front();
  std::vector<std::int64_t> skips = {width};
  const std::size_t last = layout.widths.size() - 1;
  for (std::size_t level = 0; level <= last; ++level) {
    if (level > 0) {
      result.push_back({layout.part("enc", level, "down"), Edm2Kind::encoder, width, width, false, -1});
      skips.push_back(width);
    }
    for (std::int64_t i = 0; i < layout.num_res_blocks; ++i) {
      result.push_back({layout.part("enc", level, text("block", i)), Edm2Kind::encoder, width, layout.widths[level],
                        layout.has_attention[level]});
      width = layout.widths[level];
      skips.push_back(width);
    }
  }
  result.push_back({layout.part("dec", last, "in0"), Edm2Kind::decoder, width, width, true});
  result.push_back({layout.part("dec", last, "in1"), Edm2Kind::decoder, width, width, false});
  for (std::size_t level = last + 1; level-- > 0;) {
    if (level < last) result.push_back({layout.part("dec", level, "up"), Edm2Kind::decoder, width, width, false, 1});
    for (std::int64_t i = 0; i <= layout.num_res_blocks; ++i) {
      result.push_back({layout.part("dec", level, text("block", i)), Edm2Kind::decoder, width + skips.back(),
                        layout.widths[level], layout.has_attention[level], 0, true});
      skips.pop_back();
      width = layout.widths[level];
    }
  }
  return result;
}

std::optional<Edm2Layout> recognise_edm2(const NamedTensors& state, std::string& why) {
  const Shapes shapes = shapes_of(state);
  why.clear();
  if (!shapes.contains("emb_fourier.freqs") || !shapes.contains("emb_noise.weight")) return std::nullopt;
  const Edm2Layout layout = guessed(shapes);
  if (layout.widths.empty() || layout.image.channels < 1 || layout.out_channels < 1) {
    why = "the names and shapes of its first and last convolutions make no network";
    return std::nullopt;
  }
  why = difference(shapes, tensors_of(layout));
  return why.empty() ? std::optional(layout) : std::nullopt;
}

Value options_of(const Edm2Layout& layout) { return layout.options(layout.widths.front(), layout.image.height); }

}  // namespace casdm::unet
