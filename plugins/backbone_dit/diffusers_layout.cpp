#include "diffusers_layout.h"

#include <ATen/ATen.h>

#include <map>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm::dit {

namespace {

/// The keys of config.json that are fixed for these transformers, with diffusers' defaults.
struct FixedKey {
  const char* name;
  Value needed;
  Value otherwise;  ///< the value if the key is absent
};

const std::vector<FixedKey>& fixed_keys() {
  static const std::vector<FixedKey> keys = {
      {"_class_name", "DiTTransformer2DModel", Value()},         {"attention_bias", true, true},
      {"activation_fn", "gelu-approximate", "gelu-approximate"}, {"upcast_attention", false, false},
      {"norm_type", "ada_norm_zero", "ada_norm_zero"},           {"norm_elementwise_affine", false, false},
  };
  return keys;
}

/// The name of a tensor here and its names there: several if diffusers repeats it.
struct NamePair {
  std::string ours;
  std::vector<std::string> theirs;
};

void add_layer(std::vector<NamePair>& to, const std::string& ours, const std::vector<std::string>& theirs) {
  for (const char* part : {".weight", ".bias"}) {
    NamePair pair{ours + part, {}};
    for (const std::string& name : theirs) pair.theirs.push_back(name + part);
    to.push_back(std::move(pair));
  }
}

/// All tensors except attention's q, k and v and the class table.
std::vector<NamePair> names_of(const DitShape& shape) {
  std::vector<NamePair> pairs;
  std::vector<std::string> first, second;
  for (std::int64_t i = 0; i < shape.depth; ++i) {
    const std::string time = text("transformer_blocks.", i, ".norm1.emb.timestep_embedder.linear_");
    first.push_back(time + "1");
    second.push_back(time + "2");
  }
  add_layer(pairs, "x_embedder.proj", {"pos_embed.proj"});
  add_layer(pairs, "t_embedder.mlp.0", first);
  add_layer(pairs, "t_embedder.mlp.2", second);
  for (std::int64_t i = 0; i < shape.depth; ++i) {
    const std::string ours = text("blocks.", i, "."), theirs = text("transformer_blocks.", i, ".");
    add_layer(pairs, ours + "adaLN_modulation.1", {theirs + "norm1.linear"});
    add_layer(pairs, ours + "attn.proj", {theirs + "attn1.to_out.0"});
    add_layer(pairs, ours + "mlp.fc1", {theirs + "ff.net.0.proj"});
    add_layer(pairs, ours + "mlp.fc2", {theirs + "ff.net.2"});
  }
  add_layer(pairs, "final_layer.adaLN_modulation.1", {"proj_out_1"});
  add_layer(pairs, "final_layer.linear", {"proj_out_2"});
  return pairs;
}

constexpr const char* kParts[] = {"to_q", "to_k", "to_v"};

std::string table_name(std::int64_t block) {
  return text("transformer_blocks.", block, ".norm1.emb.class_embedder.embedding_table.weight");
}

/// Reads the keys of config.json and collects what these transformers do not support.
class ConfigReader {
 public:
  explicit ConfigReader(const Value& config) : config_(config) {}

  DitModel read() {
    for (const FixedKey& key : fixed_keys()) {
      const Value value = get(key.name, key.otherwise);
      if (value != key.needed) {
        reasons_.push_back(text(key.name, " is ", to_json(value), ", not ", to_json(key.needed)));
      }
    }
    DitModel model;
    DitShape& shape = model.shape;
    const std::int64_t heads = integer("num_attention_heads", 16, 1 << 16);
    shape.width = heads * integer("attention_head_dim", 72, 1 << 16);
    shape.hidden = 4 * shape.width;
    shape.in_channels = integer("in_channels", 4, 1 << 24);
    shape.out_channels =
        get("out_channels", Value()).is_null() ? shape.in_channels : integer("out_channels", 4, 1 << 24);
    shape.depth = integer("num_layers", 28, 1000);
    shape.patch = integer("patch_size", 2, 32);
    shape.num_classes = integer("num_embeds_ada_norm", 1000, 1 << 24, 0) + 1;
    model.image_size = integer(side_of_images(), "sample_size", 1 << 16);
    if (reasons_.empty()) check(model);
    model.options.set("num_heads", heads);
    model.options.set("time_frequencies", std::string(to_string(Frequencies::diffusers)));
    model.options.set("mlp_norm_eps", get("norm_eps", 1e-5));
    return model;
  }

  const std::vector<std::string>& reasons() const { return reasons_; }

 private:
  void check(DitModel& model) {
    const DitShape& shape = model.shape;
    if (shape.width % 4 != 0 || shape.width > 1 << 16) {
      reasons_.push_back(text("its ", shape.width, " numbers per token are not a multiple of 4, or too many"));
    }
    if (model.image_size % shape.patch != 0) {
      reasons_.push_back(text("sample_size ", model.image_size, " is not divisible by patch_size ", shape.patch));
    }
    model.shape.patches = (model.image_size / shape.patch) * (model.image_size / shape.patch);
  }

  Value get(const char* name, const Value& otherwise) const {
    const Value* value = config_.find(name);
    return value != nullptr ? *value : otherwise;
  }
  /// diffusers also takes a height and a width.
  Value side_of_images() const {
    const Value size = get("sample_size", 32);
    const bool is_square = size.is_array() && size.as_array().size() == 2 && size.as_array()[0] == size.as_array()[1];
    return is_square ? size.as_array()[0] : size;
  }
  std::int64_t integer(const char* name, std::int64_t otherwise, std::int64_t most, std::int64_t least = 1) {
    return integer(get(name, otherwise), name, most, least);
  }
  std::int64_t integer(const Value& given, const char* name, std::int64_t most, std::int64_t least = 1) {
    if (!given.is_integer()) {
      reasons_.push_back(text(name, " is ", to_json(given), ", not a whole number"));
      return least;
    }
    const std::int64_t value = given.as_integer();
    if (value >= least && value <= most) return value;
    reasons_.push_back(text(name, " is ", value, ", out of range"));
    return least;
  }

  const Value& config_;
  std::vector<std::string> reasons_;
};

/// Throws ConfigError with every reason why DiTTransformer2DModel cannot represent this network.
void check_expressible(const DitShape& shape, const DitOptions& options) {
  std::vector<std::string> reasons;
  if (options.time_frequencies != Frequencies::diffusers) {
    reasons.emplace_back(
        "time_frequencies is \"dit\": DiTTransformer2DModel embeds the time with other frequencies and would compute "
        "something else; train with time_frequencies = \"diffusers\"");
  }
  if (shape.hidden != 4 * shape.width) reasons.emplace_back("mlp_ratio is not 4");
  if (shape.bottleneck > 0) reasons.emplace_back("it has a bottleneck: DiTTransformer2DModel maps a patch at once");
  if (shape.has_skips) reasons.emplace_back("it has skips: DiTTransformer2DModel has no connections between blocks");
  if (shape.augment_size > 0) {
    reasons.emplace_back("it takes augmentation labels: DiTTransformer2DModel has no input for them");
  }
  if (square_side(shape) == 0) {
    reasons.push_back(text("its ", shape.patches, " patches do not make a square"));
  }
  if (shape.width % options.num_heads != 0) {
    reasons.push_back(text("num_heads = ", options.num_heads, " does not divide its width, ", shape.width));
  }
  if (reasons.empty()) return;
  throw ConfigError("diffusers' DiTTransformer2DModel cannot express this network:\n  " + join(reasons, "\n  "));
}

}  // namespace

DiffusersModel to_diffusers(const DitShape& shape, const NamedTensors& state, const Value& known) {
  const auto options = read_options<DitOptions>(known);
  check_expressible(shape, options);
  DiffusersModel model{Value(Value::Table{}), {}};
  for (const FixedKey& key : fixed_keys()) model.config.set(key.name, key.needed);
  model.config.set("num_attention_heads", options.num_heads);
  model.config.set("attention_head_dim", shape.width / options.num_heads);
  model.config.set("in_channels", shape.in_channels);
  model.config.set("out_channels", shape.out_channels);
  model.config.set("num_layers", shape.depth);
  model.config.set("sample_size", square_side(shape));
  model.config.set("patch_size", shape.patch);
  // diffusers adds a row for "no class", which is our last class. If there are no classes, its single row is zero.
  model.config.set("num_embeds_ada_norm", std::max<std::int64_t>(shape.num_classes, 1) - 1);
  model.config.set("norm_eps", options.mlp_norm_eps);

  const std::map<std::string, Tensor> given(state.begin(), state.end());
  for (const NamePair& pair : names_of(shape)) {
    for (const std::string& name : pair.theirs) model.tensors.emplace_back(name, given.at(pair.ours));
  }
  for (std::int64_t i = 0; i < shape.depth; ++i) {
    for (const char* part : {".weight", ".bias"}) {
      const std::vector<Tensor> parts = given.at(text("blocks.", i, ".attn.qkv", part)).chunk(3, 0);
      for (std::size_t k = 0; k < parts.size(); ++k) {
        model.tensors.emplace_back(text("transformer_blocks.", i, ".attn1.", kParts[k], part), parts[k]);
      }
    }
    model.tensors.emplace_back(table_name(i), shape.num_classes > 0 ? given.at("y_embedder.embedding_table.weight")
                                                                    : at::zeros({1, shape.width}));
  }
  return model;
}

DitModel from_diffusers(const Value& config, const NamedTensors& tensors) {
  ConfigReader reader(config);
  DitModel model = reader.read();
  if (!reader.reasons().empty()) {
    throw Error("is a model that DiT's own names cannot express:\n  " + join(reader.reasons(), "\n  "));
  }
  std::map<std::string, Tensor> given(tensors.begin(), tensors.end());
  const auto take = [&](const std::string& name) {
    const auto found = given.find(name);
    if (found == given.end()) throw Error("has no tensor " + name);
    Tensor tensor = found->second;
    given.erase(found);
    return tensor;
  };
  const auto take_repeated = [&](const std::vector<std::string>& names) {
    const Tensor tensor = take(names.front());
    for (std::size_t i = 1; i < names.size(); ++i) {
      if (at::equal(tensor, take(names[i]))) continue;
      throw Error(text("embeds time and class in each block by itself: ", names.front(), " and ", names[i], " differ"));
    }
    return tensor;
  };
  std::map<std::string, Tensor> made;
  for (const NamePair& pair : names_of(model.shape)) made[pair.ours] = take_repeated(pair.theirs);
  std::vector<std::string> tables;
  for (std::int64_t i = 0; i < model.shape.depth; ++i) {
    tables.push_back(table_name(i));
    for (const char* part : {".weight", ".bias"}) {
      std::vector<Tensor> parts;
      for (const char* name : kParts) {
        parts.push_back(take(text("transformer_blocks.", i, ".attn1.", name, part)));
        if (parts.back().dim() < 1 || parts.back().sizes() != parts.front().sizes()) {
          throw Error(text("transformer_blocks.", i, ".attn1.", name, part, " has shape ", parts.back().sizes()));
        }
      }
      made[text("blocks.", i, ".attn.qkv", part)] = at::cat(parts);
    }
  }
  const Tensor table = take_repeated(tables);
  const bool is_unconditional =
      table.dim() == 2 && table.size(0) == 1 && table.count_nonzero().item<std::int64_t>() == 0;
  if (is_unconditional) model.shape.num_classes = 0;
  made["y_embedder.embedding_table.weight"] = table;
  const std::int64_t side = model.image_size / model.shape.patch;
  made["pos_embed"] = position_embedding(side, side, model.shape.width);
  if (!given.empty()) throw Error("has a tensor too many: " + quoted(given.begin()->first));
  for (const DitTensor& tensor : tensors_of(model.shape)) {
    const Tensor& found = made.at(tensor.name);
    if (found.sizes() != at::IntArrayRef(tensor.shape)) {
      throw Error(text(tensor.name, " would have shape ", found.sizes(), ", expected ", at::IntArrayRef(tensor.shape)));
    }
    model.tensors.emplace_back(tensor.name, found);
  }
  return model;
}

}  // namespace casdm::dit
