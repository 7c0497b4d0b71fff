#include "options.h"

#include <algorithm>
#include <cmath>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm::unet {

namespace {

constexpr double kMostChannels = 1 << 16;

}  // namespace

void UNetOptions::describe(Schema<UNetOptions>& s) {
  s.option("channels", &UNetOptions::channels, "Width of the network at the image's resolution, before channel_mult.")
      .range(1, kMostChannels);
  OptionSpec& mult = s.option("channel_mult", &UNetOptions::channel_mult,
                              "Width of each resolution as a multiple of `channels`; each entry after the first "
                              "halves the feature maps.");
  mult.element.front().greater_than(0).range(0, kMostChannels);
  s.option("num_res_blocks", &UNetOptions::num_res_blocks,
           "Residual blocks per resolution in the encoder; the decoder has one more.")
      .range(1, kMostBlocks);
  OptionSpec& attention = s.option("attention_resolutions", &UNetOptions::attention_resolutions,
                                   "Feature maps of these sizes get attention after each residual block. The middle of "
                                   "the network always has it.");
  attention.in_unit("pixels").element.front().range(1, kMostChannels);
  s.option("num_heads", &UNetOptions::num_heads, "Attention heads, unless num_head_channels is given.")
      .range(1, kMostChannels);
  s.option("num_head_channels", &UNetOptions::num_head_channels, "Channels per attention head; -1: as num_heads says.")
      .range(-1, kMostChannels);
  s.option("num_heads_upsample", &UNetOptions::num_heads_upsample,
           "Attention heads in the decoder, unless num_head_channels is given; -1: as num_heads says.")
      .range(-1, kMostChannels);
  s.option("attention_order", &UNetOptions::attention_order,
           "Channels of the qkv projection: \"legacy\" splits heads, then q, k, v; \"new\" q, k, v, then heads. The "
           "shapes are equal, so weights of the other order load, but the network outputs noise.");
  s.option("use_scale_shift_norm", &UNetOptions::use_scale_shift_norm,
           "The time modulates the second norm of a residual block by scale and shift; false: it is added before.");
  s.option("resblock_updown", &UNetOptions::resblock_updown,
           "Residual blocks change the resolution, instead of single convolutions.");
  s.option("conv_resample", &UNetOptions::conv_resample,
           "Resampling has a 3x3 convolution; false: average pooling and nearest neighbour alone.");
  s.option("dropout", &UNetOptions::dropout, "Probability of dropping an activation in a residual block, in training.")
      .range(0, 1)
      .less_than(1);
  s.option("groups", &UNetOptions::groups, "Groups of every GroupNorm; must divide every width.")
      .range(1, kMostChannels);
  s.option("timestep_scale", &UNetOptions::timestep_scale,
           "Factor on t before its embedding. improved-diffusion feeds t * 1000 / T; guided-diffusion t itself.")
      .greater_than(0);
  s.option("checkpoint", &UNetOptions::checkpoint,
           "Gradient checkpointing: blocks are evaluated again in the backward pass instead of keeping their "
           "activations. Less memory, about a third more time, the same numbers.");
  s.option("convolution", &UNetOptions::convolution,
           "3x3 convolutions on the CPU in float32: \"auto\" takes Winograd's method where it is faster, at two to ten "
           "times the rounding error, below 1e-5 of the largest value; \"direct\" leaves all to LibTorch.");
  s.option(
      "memory_format", &UNetOptions::memory_format,
      "How images inside the network lie in memory: \"contiguous\" channel by channel, \"channels_last\" pixel by "
      "pixel; \"auto\": pixel by pixel on the CPU and in bf16 on a GPU, otherwise as they come. The results are the "
      "same up to rounding; docs/cuda.md says what each format costs.");
}

namespace {

/// "32, 16, 8": the sizes of all levels.
std::string sizes_of(const std::vector<Level>& levels) {
  std::vector<std::string> sizes;
  for (const Level& level : levels) sizes.push_back(std::to_string(level.size));
  return join(sizes, ", ");
}

void check_scalars(const UNetOptions& o, const Backbone::Spec& spec) {
  if (o.channels < 1) throw ConfigError(text("channels = ", o.channels, ": expected at least 1"));
  if (o.channel_mult.empty()) throw ConfigError("channel_mult is empty: give one factor per resolution, as [1, 2, 2]");
  if (o.num_res_blocks < 1) throw ConfigError(text("num_res_blocks = ", o.num_res_blocks, ": expected at least 1"));
  if (o.groups < 1) throw ConfigError(text("groups = ", o.groups, ": expected at least 1"));
  if (o.num_heads < 1) throw ConfigError(text("num_heads = ", o.num_heads, ": expected at least 1"));
  for (const auto& [name, value] :
       {std::pair("num_head_channels", o.num_head_channels), std::pair("num_heads_upsample", o.num_heads_upsample)}) {
    if (value != -1 && value < 1) {
      throw ConfigError(text(name, " = ", value, ": expected at least 1, or -1 to leave it to num_heads"));
    }
  }
  if (!(o.dropout >= 0 && o.dropout < 1)) {
    throw ConfigError(text("dropout = ", number(o.dropout), ": expected 0 <= dropout < 1"));
  }
  if (!(o.timestep_scale > 0) || !std::isfinite(o.timestep_scale)) {
    throw ConfigError(text("timestep_scale = ", number(o.timestep_scale), ": expected a finite factor above 0"));
  }
  if (spec.image.channels < 1 || spec.out_channels < 1 || spec.image.height < 1 || spec.condition.num_classes < 0) {
    throw ConfigError(text("a U-Net from ", spec.image.channels, " to ", spec.out_channels, " channels at ",
                           spec.image.height, " pixels with ", spec.condition.num_classes,
                           " classes: channels and pixels must be at least 1, classes at least 0"));
  }
}

std::int64_t width_of(const UNetOptions& o, std::size_t level) {
  const double width = static_cast<double>(o.channels) * o.channel_mult[level];
  if (!(width >= 1) || width > 1e6 || width != std::floor(width)) {
    throw ConfigError(text("channels = ", o.channels, " times channel_mult[", level,
                           "] = ", number(o.channel_mult[level]), " is ", number(width),
                           ": expected a whole number of at least 1"));
  }
  const auto channels = static_cast<std::int64_t>(width);
  if (channels % o.groups != 0) {
    throw ConfigError(
        text("channels = ", o.channels, " times channel_mult[", level, "] = ", number(o.channel_mult[level]), " gives ",
             channels, " channels, which cannot be split into ", o.groups,
             " groups: choose channels whose products are multiples of ", o.groups, ", or another `groups`"));
  }
  return channels;
}

void check_heads(const UNetOptions& o, const Level& level) {
  if (o.num_head_channels != -1) {
    if (level.channels % o.num_head_channels == 0) return;
    throw ConfigError(text("num_head_channels = ", o.num_head_channels, " does not divide the ", level.channels,
                           " channels of the attention at ", level.size,
                           " pixels: choose a divisor, or -1 and num_heads"));
  }
  for (const bool upsampling : {false, true}) {
    const std::int64_t heads = attention_heads(o, level.channels, upsampling);
    if (level.channels % heads == 0) continue;
    throw ConfigError(text(upsampling && o.num_heads_upsample != -1 ? "num_heads_upsample" : "num_heads", " = ", heads,
                           " does not divide the ", level.channels, " channels of the attention at ", level.size,
                           " pixels: choose a divisor"));
  }
}

}  // namespace

std::int64_t attention_heads(const UNetOptions& options, std::int64_t channels, bool upsampling) {
  if (options.num_head_channels != -1) return channels / options.num_head_channels;
  return upsampling && options.num_heads_upsample != -1 ? options.num_heads_upsample : options.num_heads;
}

std::vector<Level> plan_levels(const UNetOptions& options, const Backbone::Spec& spec) {
  check_scalars(options, spec);
  const std::size_t count = options.channel_mult.size();
  const std::int64_t factor = count <= 32 ? std::int64_t{1} << (count - 1) : 0;
  if (factor == 0 || spec.image.height % factor != 0) {
    throw ConfigError(text("image_size = ", spec.image.height, " cannot be halved ", count - 1, " times, as the ",
                           count, " entries of channel_mult ask: choose a multiple of ",
                           factor == 0 ? "a power of two" : std::to_string(factor), " or fewer entries"));
  }
  std::vector<Level> levels;
  for (std::size_t i = 0; i < count; ++i) {
    levels.push_back({width_of(options, i), spec.image.height >> i, false});
  }
  for (const std::int64_t size : options.attention_resolutions) {
    const auto level = std::find_if(levels.begin(), levels.end(), [&](const Level& l) { return l.size == size; });
    if (level == levels.end()) {
      throw ConfigError(text("attention_resolutions holds ", size, ", but the feature maps of a ", spec.image.height,
                             " pixel image have ", sizes_of(levels), " pixels: choose among these, or leave it out"));
    }
    level->has_attention = true;
  }
  for (const Level& level : levels) {
    if (level.has_attention || &level == &levels.back()) check_heads(options, level);
  }
  return levels;
}

}  // namespace casdm::unet
