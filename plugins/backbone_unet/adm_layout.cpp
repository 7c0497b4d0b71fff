#include "adm_layout.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm::unet {

namespace {

using Kind = AdmBlock::Kind;

/// Lists the stages, "input_blocks.<i>", with the blocks of each counted from 0.
class StageLister {
 public:
  explicit StageLister(const AdmLayout& layout) : layout_(layout) {}

  std::vector<AdmStage> list() {
    encoder();
    const std::int64_t deepest = layout_.widths.back();
    stage("middle_block");
    add(Kind::residual, "mid_block.resnets.0", deepest, deepest);
    add(Kind::attention, "mid_block.attentions.0", deepest, deepest);
    add(Kind::residual, "mid_block.resnets.1", deepest, deepest);
    decoder(deepest);
    return std::move(stages_);
  }

 private:
  void encoder() {
    int stages = 0;
    const auto next = [&] { stage(text("input_blocks.", stages++)); };
    std::int64_t channels = layout_.widths.front();
    next();
    add(Kind::convolution, "conv_in", layout_.in_channels, channels);
    skips_.push_back(channels);
    for (std::size_t level = 0; level < layout_.widths.size(); ++level) {
      const std::string peer = text("down_blocks.", level, ".");
      for (std::int64_t i = 0; i < layout_.num_res_blocks; ++i) {
        next();
        add(Kind::residual, text(peer, "resnets.", i), channels, layout_.widths[level]);
        channels = layout_.widths[level];
        if (layout_.has_attention[level]) add(Kind::attention, text(peer, "attentions.", i), channels, channels);
        skips_.push_back(channels);
      }
      if (level + 1 == layout_.widths.size()) break;
      next();
      resample(Resample::down, peer + "downsamplers.0", channels);
      skips_.push_back(channels);
    }
  }

  void decoder(std::int64_t channels) {
    int stages = 0;
    for (std::size_t level = layout_.widths.size(); level-- > 0;) {
      const std::string peer = text("up_blocks.", layout_.widths.size() - 1 - level, ".");
      for (std::int64_t i = 0; i <= layout_.num_res_blocks; ++i) {
        stage(text("output_blocks.", stages++));
        add(Kind::residual, text(peer, "resnets.", i), channels + skips_.back(), layout_.widths[level]);
        skips_.pop_back();
        channels = layout_.widths[level];
        if (layout_.has_attention[level]) add(Kind::attention, text(peer, "attentions.", i), channels, channels);
        if (i == layout_.num_res_blocks && level > 0) resample(Resample::up, peer + "upsamplers.0", channels);
      }
    }
  }

  void stage(std::string name) { stages_.push_back({std::move(name), {}}); }

  AdmBlock& add(Kind kind, std::string peer, std::int64_t in, std::int64_t out) {
    AdmStage& stage = stages_.back();
    return stage.blocks.emplace_back(
        AdmBlock{kind, text(stage.name, ".", stage.blocks.size()), std::move(peer), in, out});
  }

  void resample(Resample direction, const std::string& peer, std::int64_t channels) {
    AdmBlock& block = add(layout_.resblock_updown ? Kind::residual : Kind::resampling, peer, channels, channels);
    block.resample = direction;
    block.has_weights = layout_.resblock_updown || layout_.conv_resample;
  }

  const AdmLayout& layout_;
  std::vector<AdmStage> stages_;
  std::vector<std::int64_t> skips_;
};

/// Reads the shapes as if they belonged to such a network; the result is checked afterwards, parameter by parameter.
class LayoutReader {
 public:
  explicit LayoutReader(const Shapes& shapes) : shapes_(shapes) {}

  std::optional<AdmLayout> read() {
    AdmLayout result;
    result.channels = extent("time_embed.0.weight", 1);
    result.in_channels = extent("input_blocks.0.0.weight", 1);
    result.out_channels = extent("out.2.weight", 0);
    result.num_classes = extent("label_emb.weight", 0);
    result.augment_size = extent("augment_emb.weight", 1);
    const std::int64_t first = extent("input_blocks.1.0.out_layers.3.weight", 0);
    if (!is_width(result.channels) || !is_width(first)) return std::nullopt;
    result.use_scale_shift_norm = extent("input_blocks.1.0.emb_layers.1.weight", 0) == 2 * first;
    const std::int64_t stages = count_stages();
    const std::int64_t per_level = stages_per_level(stages, result);
    result.num_res_blocks = per_level - 1;
    for (std::int64_t at = 1; at < stages; at += per_level) {
      result.widths.push_back(extent(text("input_blocks.", at, ".0.out_layers.3.weight"), 0));
      result.has_attention.push_back(has(text("input_blocks.", at, ".1.qkv.weight")));
      if (!is_width(result.widths.back())) return std::nullopt;
    }
    if (result.widths.empty()) return std::nullopt;
    return result;
  }

 private:
  /// For larger widths, sums and products could overflow.
  static bool is_width(std::int64_t channels) { return channels >= 1 && channels <= std::int64_t{1} << 24; }

  bool has(const std::string& name) const { return shapes_.contains(name); }

  /// One dimension of a shape; 0 if there is no such parameter.
  std::int64_t extent(const std::string& name, std::size_t dimension) const {
    return size_of(shapes_, name, dimension);
  }

  /// Encoder and decoder have the same number of stages; in the encoder some may have no parameters.
  std::int64_t count_stages() const {
    std::int64_t count = 0;
    while (has(text("output_blocks.", count, ".0.in_layers.0.weight"))) ++count;
    return count;
  }

  /// The number of residual blocks per level plus the resampling after them, found from the end of the first level: in
  /// the encoder a convolution or nothing, in the decoder a residual block that is not its stage's first.
  std::int64_t stages_per_level(std::int64_t stages, AdmLayout& result) const {
    for (std::int64_t at = 1; at < stages; ++at) {
      const std::string name = text("input_blocks.", at, ".0.");
      if (has(name + "op.weight")) return at;
      if (!has(name + "in_layers.0.weight")) {
        result.conv_resample = false;
        return at;
      }
    }
    for (std::int64_t at = 0; at < stages; ++at) {
      const std::string name = text("output_blocks.", at, ".");
      if (has(name + "1.in_layers.0.weight") || has(name + "2.in_layers.0.weight")) {
        result.resblock_updown = true;
        return at + 1;
      }
    }
    return stages;
  }

  const Shapes& shapes_;
};

void add_layer(std::vector<NamedShape>& to, const std::string& name, std::vector<std::int64_t> shape) {
  const std::int64_t out = shape.front();
  to.push_back({name + ".weight", std::move(shape)});
  to.push_back({name + ".bias", {out}});
}

void add_block(std::vector<NamedShape>& to, const AdmBlock& block, const AdmLayout& layout) {
  const std::string& name = block.name;
  const std::int64_t in = block.in, out = block.out;
  switch (block.kind) {
    case Kind::convolution:
      return add_layer(to, name, {out, in, 3, 3});
    case Kind::resampling:
      if (!block.has_weights) return;
      return add_layer(to, name + (block.resample == Resample::down ? ".op" : ".conv"), {out, in, 3, 3});
    case Kind::attention:
      add_layer(to, name + ".norm", {out});
      add_layer(to, name + ".qkv", {3 * out, out, 1});
      return add_layer(to, name + ".proj_out", {out, out, 1});
    case Kind::residual:
      add_layer(to, name + ".in_layers.0", {in});
      add_layer(to, name + ".in_layers.2", {out, in, 3, 3});
      add_layer(to, name + ".emb_layers.1", {layout.use_scale_shift_norm ? 2 * out : out, 4 * layout.channels});
      add_layer(to, name + ".out_layers.0", {out});
      add_layer(to, name + ".out_layers.3", {out, out, 3, 3});
      if (in != out) add_layer(to, name + ".skip_connection", {out, in, 1, 1});
  }
}

}  // namespace

std::vector<AdmStage> stages_of(const AdmLayout& layout) { return StageLister(layout).list(); }

std::vector<AdmBlock> blocks_of(const AdmLayout& layout) {
  std::vector<AdmBlock> result;
  for (AdmStage& stage : stages_of(layout))
    std::move(stage.blocks.begin(), stage.blocks.end(), std::back_inserter(result));
  return result;
}

std::vector<NamedShape> parameters_of(const AdmLayout& layout) {
  std::vector<NamedShape> result;
  const std::int64_t embedding = 4 * layout.channels;
  add_layer(result, "time_embed.0", {embedding, layout.channels});
  add_layer(result, "time_embed.2", {embedding, embedding});
  if (layout.num_classes > 0) result.push_back({"label_emb.weight", {layout.num_classes, embedding}});
  if (layout.augment_size > 0) result.push_back({"augment_emb.weight", {embedding, layout.augment_size}});
  for (const AdmBlock& block : blocks_of(layout)) add_block(result, block, layout);
  add_layer(result, "out.0", {layout.widths.front()});
  add_layer(result, "out.2", {layout.out_channels, layout.widths.front(), 3, 3});
  return result;
}

std::optional<AdmLayout> recognise_adm(const NamedTensors& state, std::string& why) {
  const Shapes shapes = shapes_of(state);
  why.clear();
  const std::optional<AdmLayout> layout = LayoutReader(shapes).read();
  if (!layout) return std::nullopt;
  why = difference(shapes, parameters_of(*layout));
  return why.empty() ? layout : std::nullopt;
}

Value UNetLayout::options(std::int64_t channels, std::int64_t image_height) const {
  Value options{Value::Table{}};
  options.set("channels", channels);
  Value::Array mult, attention;
  for (std::size_t level = 0; level < widths.size(); ++level) {
    mult.emplace_back(static_cast<double>(widths[level]) / static_cast<double>(channels));
    if (has_attention[level]) attention.emplace_back(image_height >> level);
  }
  options.set("channel_mult", std::move(mult));
  options.set("num_res_blocks", num_res_blocks);
  if (image_height > 0) options.set("attention_resolutions", std::move(attention));
  return options;
}

Value options_of(const AdmLayout& layout, std::int64_t image_size) {
  Value options = layout.options(layout.channels, image_size);
  options.set("use_scale_shift_norm", layout.use_scale_shift_norm);
  options.set("resblock_updown", layout.resblock_updown);
  options.set("conv_resample", layout.conv_resample);
  return options;
}

Value unseen_options(const Value& options) {
  std::vector<const char*> names = {"attention_order", "num_head_channels", "groups", "timestep_scale"};
  const Value* head_channels = options.find("num_head_channels");
  if (head_channels == nullptr || head_channels->as_integer() == -1) {
    names.insert(names.end(), {"num_heads", "num_heads_upsample"});
  }
  return picked(options, names);
}

}  // namespace casdm::unet
