#include "diffusers_config.h"

#include <algorithm>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm::unet {

namespace {

void require(std::vector<std::string>& reasons, bool holds, const std::string& reason) {
  if (!holds) reasons.push_back(reason);
}

/// The keys of config.json that are fixed for these U-Nets, with diffusers' defaults.
struct FixedKey {
  const char* name;
  Value needed;
  Value otherwise;  ///< the value if the key is absent
};

const std::vector<FixedKey>& fixed_keys() {
  static const std::vector<FixedKey> keys = {
      {"_class_name", "UNet2DModel", Value()},
      {"center_input_sample", false, false},
      {"time_embedding_type", "positional", "positional"},
      {"freq_shift", 0, 0},
      {"flip_sin_to_cos", true, true},
      {"mid_block_type", "UNetMidBlock2D", "UNetMidBlock2D"},
      {"mid_block_scale_factor", 1, 1},
      {"downsample_padding", 1, 1},
      {"act_fn", "silu", "silu"},
      {"norm_eps", 1e-5, 1e-5},
      {"add_attention", true, true},
      {"class_embed_type", Value(), Value()},
  };
  return keys;
}

bool is_same(const Value& a, const Value& b) {
  return a.is_number() && b.is_number() ? a.as_number() == b.as_number() : a == b;
}

/// Reads the keys of config.json and collects what these U-Nets do not support.
class ConfigReader {
 public:
  explicit ConfigReader(const Value& config) : config_(config) {}

  DiffusersConfig read() {
    for (const FixedKey& key : fixed_keys()) {
      const Value value = get(key.name, key.otherwise);
      require(reasons_, is_same(value, key.needed),
              text(key.name, " is ", to_json(value), ", not ", to_json(key.needed)));
    }
    DiffusersConfig model;
    AdmLayout& layout = model.layout;
    layout.in_channels = integer("in_channels", 3);
    layout.out_channels = integer("out_channels", 3);
    layout.num_res_blocks = integer("layers_per_block", 2);
    layout.num_classes = integer("num_class_embeds", Value());
    for (const Value& width : array("block_out_channels")) layout.widths.push_back(whole("block_out_channels", width));
    require(reasons_, is_sane(layout), "its number of channels, blocks or classes is out of range");
    if (!reasons_.empty()) return model;
    layout.channels = layout.widths.front();
    require(reasons_,
            get("time_embedding_dim", Value()).is_null() || integer("time_embedding_dim", 0) == 4 * layout.channels,
            "time_embedding_dim is not four times the first width");
    read_levels(layout);
    read_time(layout);
    model.options = read_options(layout);
    model.image_size = side_of_images();
    return model;
  }

  const std::vector<std::string>& reasons() const { return reasons_; }

 private:
  /// For larger values, sums and products could overflow.
  static bool is_sane(const AdmLayout& layout) {
    const auto within = [](std::int64_t value, std::int64_t least) {
      return value >= least && value <= std::int64_t{1} << 24;
    };
    return !layout.widths.empty() && layout.widths.size() <= 32 && within(layout.num_res_blocks, 1) &&
           layout.num_res_blocks <= 1000 && within(layout.in_channels, 1) && within(layout.out_channels, 1) &&
           within(layout.num_classes, 0) &&
           std::all_of(layout.widths.begin(), layout.widths.end(),
                       [&](std::int64_t width) { return within(width, 1); });
  }

  Value get(const char* name, const Value& otherwise) const {
    const Value* value = config_.find(name);
    return value != nullptr ? *value : otherwise;
  }
  std::int64_t whole(const char* name, const Value& value) {
    require(reasons_, value.is_integer(), text(name, " is ", to_json(value), ", not a whole number"));
    return value.is_integer() ? value.as_integer() : 0;
  }
  std::int64_t integer(const char* name, const Value& otherwise) {
    const Value value = get(name, otherwise);
    return value.is_null() ? 0 : whole(name, value);
  }
  std::string word(const char* name, const Value& value) {
    require(reasons_, value.is_string(), text(name, " is ", to_json(value), ", not a string"));
    return value.is_string() ? value.as_string() : "";
  }
  const Value::Array& array(const char* name) const {
    const Value* value = config_.find(name);
    if (value == nullptr) throw Error(text("has no key '", name, "'"));
    if (!value->is_array()) throw Error(text("has ", to_json(*value), " as ", name, ", which is not an array"));
    return value->as_array();
  }

  /// 0: not given. diffusers also takes a height and a width.
  std::int64_t side_of_images() {
    const Value size = get("sample_size", Value());
    if (!size.is_array()) return integer("sample_size", Value());
    const Value::Array& sides = size.as_array();
    require(reasons_, sides.size() == 2 && sides[0] == sides[1],
            text("sample_size is ", to_json(size), ", not square"));
    return sides.empty() ? 0 : whole("sample_size", sides[0]);
  }

  void read_levels(AdmLayout& layout) {
    const Value::Array& down = array("down_block_types");
    const Value::Array& up = array("up_block_types");
    const std::size_t count = layout.widths.size();
    const bool is_complete = down.size() == count && up.size() == count;
    require(reasons_, is_complete, "it does not have one block type per width");
    if (!is_complete) return;
    const std::string resampling = word("downsample_type", get("downsample_type", "conv"));
    layout.resblock_updown = resampling == "resnet";
    require(reasons_, get("upsample_type", "conv") == resampling, "it resamples down and up in different ways");
    const std::string plain_down = layout.resblock_updown ? "ResnetDownsampleBlock2D" : "DownBlock2D";
    const std::string plain_up = layout.resblock_updown ? "ResnetUpsampleBlock2D" : "UpBlock2D";
    for (std::size_t level = 0; level < count; ++level) {
      const std::string type = word("down_block_types", down[level]);
      const std::string peer = word("up_block_types", up[count - 1 - level]);
      layout.has_attention.push_back(type == "AttnDownBlock2D");
      require(reasons_, layout.has_attention.back() ? peer == "AttnUpBlock2D" : type == plain_down && peer == plain_up,
              text("its resolution ", level, " is ", type, " and ", peer));
    }
  }

  void read_time(AdmLayout& layout) {
    const std::string time = word("resnet_time_scale_shift", get("resnet_time_scale_shift", "default"));
    layout.use_scale_shift_norm = time == "scale_shift";
    require(reasons_, time == "scale_shift" || time == "default", "resnet_time_scale_shift is " + time);
  }

  Value read_options(const AdmLayout& layout) {
    const std::int64_t groups = integer("norm_num_groups", 32);
    const Value middle = get("attn_norm_num_groups", Value());
    require(reasons_, middle.is_null() ? !layout.use_scale_shift_norm : middle == groups,
            "the norm of the middle's attention is not that of the others");
    Value options{Value::Table{}};
    const Value per_head = get("attention_head_dim", 8);
    options.set("num_head_channels", per_head.is_null() ? -1 : whole("attention_head_dim", per_head));
    if (per_head.is_null()) {
      options.set("num_heads", 1);
      options.set("num_heads_upsample", -1);
    }
    options.set("groups", groups);
    options.set("timestep_scale", 1.0);
    return options;
  }

  const Value& config_;
  std::vector<std::string> reasons_;
};

}  // namespace

Value diffusers_config(const AdmLayout& layout, std::int64_t per_head, std::int64_t groups, std::int64_t image_size) {
  Value config{Value::Table{}};
  for (const FixedKey& key : fixed_keys()) config.set(key.name, key.needed);
  config.set("sample_size", image_size);
  config.set("in_channels", layout.in_channels);
  config.set("out_channels", layout.out_channels);
  config.set("layers_per_block", layout.num_res_blocks);
  Value::Array widths, down, up;
  for (std::size_t level = 0; level < layout.widths.size(); ++level) {
    const bool attends = layout.has_attention[level];
    widths.emplace_back(layout.widths[level]);
    down.emplace_back(attends ? "AttnDownBlock2D" : layout.resblock_updown ? "ResnetDownsampleBlock2D" : "DownBlock2D");
    up.emplace_back(attends ? "AttnUpBlock2D" : layout.resblock_updown ? "ResnetUpsampleBlock2D" : "UpBlock2D");
  }
  config.set("block_out_channels", std::move(widths));
  config.set("down_block_types", std::move(down));
  config.set("up_block_types", Value::Array(up.rbegin(), up.rend()));
  config.set("downsample_type", layout.resblock_updown ? "resnet" : "conv");
  config.set("upsample_type", layout.resblock_updown ? "resnet" : "conv");
  config.set("attention_head_dim", per_head == -1 ? Value() : Value(per_head));
  config.set("norm_num_groups", groups);
  // Without it, the attention in the middle would have no norm if the time scales and shifts.
  config.set("attn_norm_num_groups", groups);
  config.set("resnet_time_scale_shift", layout.use_scale_shift_norm ? "scale_shift" : "default");
  config.set("num_class_embeds", layout.num_classes > 0 ? Value(layout.num_classes) : Value());
  return config;
}

DiffusersConfig read_diffusers_config(const Value& config) {
  ConfigReader reader(config);
  DiffusersConfig result = reader.read();
  if (reader.reasons().empty()) return result;
  throw Error("is a model that the U-Nets of guided-diffusion's names cannot express:\n  " +
              join(reader.reasons(), "\n  "));
}

}  // namespace casdm::unet
