#include "dit.h"

#include <ATen/ATen.h>

#include <cmath>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm::dit {

namespace {

constexpr double kNormEps = 1e-6;
constexpr std::int64_t kHalf = 128;  ///< number of sines, and of cosines, in the embedding of time

Tensor drawn(const DitTensor& tensor, std::uint64_t seed) {
  if (tensor.start == Start::small) return seeded_normal(seed, tensor.name, tensor.shape, 0.02);
  if (tensor.start == Start::zero) return at::zeros(tensor.shape, at::kFloat);
  const std::int64_t in = c10::multiply_integers(tensor.shape) / tensor.shape.front();
  const double bound = std::sqrt(6.0 / static_cast<double>(in + tensor.shape.front()));
  return seeded_uniform(seed, tensor.name, tensor.shape, bound);
}

}  // namespace

DitBackbone::DitBackbone(const DitOptions& options, const Spec& spec) : options_(options), spec_(spec) {
  dit::check(options, spec);
  for (const DitTensor& tensor : tensors_of(shape_of(options, spec))) {
    tensors_.emplace(tensor.name, make(tensor));
  }
  const std::int64_t steps = options.time_frequencies == Frequencies::diffusers ? kHalf - 1 : kHalf;
  frequencies_ = at::exp(at::arange(kHalf, at::kFloat) * -std::log(10000.0) / static_cast<double>(steps));
  const auto lookup = [this](const std::string& name) { return find(name); };
  for (std::int64_t i = 0; i < options.depth; ++i) {
    const bool has_skip = options.skips && skip_source(i, options.depth).has_value();
    blocks_.emplace_back(lookup, text("blocks.", i),
                         BlockOptions{options.num_heads, options.dropout, options.mlp_norm_eps, has_skip});
  }
}

Tensor DitBackbone::make(const DitTensor& tensor) {
  if (tensor.start != Start::positions) return add_parameter(tensor.name, drawn(tensor, spec_.seed));
  return add_buffer(tensor.name, position_embedding(spec_.image.height / options_.patch,
                                                    spec_.image.width / options_.patch, options_.width));
}

ParameterRole DitBackbone::role(std::string_view parameter) const {
  if (parameter == "final_layer.linear.weight") return ParameterRole::output;
  return parameter == "y_embedder.embedding_table.weight" ? ParameterRole::embedding : ParameterRole::automatic;
}

std::vector<TapInfo> DitBackbone::taps() const {
  const std::int64_t patches = shape_of(options_, spec_).patches;
  std::vector<TapInfo> result;
  for (std::int64_t i = 0; i < options_.depth; ++i) result.push_back({text("block.", i), {patches, options_.width}});
  return result;
}

Tensor DitBackbone::forward(const Tensor& x, const Tensor& t, const Condition& condition) {
  return evaluate(x, t, condition, [](std::int64_t, const Tensor&) {});
}

BackboneOutput DitBackbone::forward_with_taps(const Tensor& x, const Tensor& t, const Condition& condition,
                                              const std::vector<std::string>& names) {
  require_taps(*this, names);
  BackboneOutput output;
  for (const std::string& name : names) output.taps.emplace_back(name, Tensor());
  output.sample = evaluate(x, t, condition, [&](std::int64_t i, const Tensor& tokens) {
    for (auto& [name, tap] : output.taps) {
      if (name == text("block.", i)) tap = tokens;
    }
  });
  return output;
}

Tensor DitBackbone::evaluate(const Tensor& x, const Tensor& t, const Condition& condition,
                             const std::function<void(std::int64_t, const Tensor&)>& seen) {
  check(x, t, condition);
  const Tensor conditioning = embed(t, condition);
  const Dropout dropout = is_training() ? condition.dropout : Dropout();
  Tensor h = tokens_of(x);
  std::vector<Tensor> entered;
  for (std::int64_t i = 0; i < options_.depth; ++i) {
    const auto source = skip_source(i, options_.depth);
    entered.push_back(h);
    h = blocks_[static_cast<std::size_t>(i)](h, conditioning,
                                             source ? entered[static_cast<std::size_t>(*source)] : Tensor(), dropout);
    seen(i, h);
  }
  return image_of(h, conditioning);
}

void DitBackbone::check(const Tensor& x, const Tensor& t, const Condition& condition) const {
  const ImageShape& image = spec_.image;
  if (x.dim() != 4 || x.sizes().slice(1) != at::IntArrayRef({image.channels, image.height, image.width})) {
    throw Error(text("this transformer takes images [B, ", image.channels, ", ", image.height, ", ", image.width,
                     "], the size it was made for, got ", x.sizes()));
  }
  if (t.dim() != 1 || t.size(0) != x.size(0)) {
    throw Error(text("the transformer takes one timestep per image: expected t of [", x.size(0), "], got ", t.sizes()));
  }
  if (condition.labels.defined() != (spec_.condition.num_classes > 0)) {
    throw Error(condition.labels.defined()
                    ? "the transformer is unconditional (num_classes = 0), but was given labels"
                    : text("the transformer has ", spec_.condition.num_classes, " classes, but was given no labels"));
  }
  const Tensor& augment = condition.augment;
  if (augment.defined() && augment.sizes() != at::IntArrayRef({x.size(0), spec_.condition.augment_size})) {
    throw Error(text("the transformer takes augmentation labels of [", x.size(0), ", ", spec_.condition.augment_size,
                     "], got ", augment.sizes()));
  }
}

Tensor DitBackbone::tokens_of(const Tensor& x) const {
  Tensor patches;
  if (options_.bottleneck > 0) {
    const Tensor reduced = at::conv2d(x, find("x_embedder.proj1.weight"), {}, options_.patch);
    patches = at::conv2d(reduced, find("x_embedder.proj2.weight"), find("x_embedder.proj2.bias"));
  } else {
    patches = at::conv2d(x, find("x_embedder.proj.weight"), find("x_embedder.proj.bias"), options_.patch);
  }
  return patches.flatten(2).transpose(1, 2) + find("pos_embed");
}

Tensor DitBackbone::embed(const Tensor& t, const Condition& condition) {
  if (frequencies_.device() != t.device()) frequencies_ = frequencies_.to(t.device());
  const Tensor angles = t.to(at::kFloat).unsqueeze(1) * frequencies_;
  const Tensor waves = at::cat({angles.cos(), angles.sin()}, 1);
  const auto lookup = [this](const std::string& name) { return find(name); };
  const Linear first(lookup, "t_embedder.mlp.0"), second(lookup, "t_embedder.mlp.2");
  Tensor embedding = second(at::silu(first(waves.to(first.weight.scalar_type()))));
  if (condition.labels.defined()) {
    embedding = embedding + at::embedding(find("y_embedder.embedding_table.weight"), condition.labels);
  }
  if (condition.augment.defined() && spec_.condition.augment_size > 0) {
    const Tensor weight = find("a_embedder.weight");
    embedding = embedding + at::linear(condition.augment.to(weight.scalar_type()), weight);
  }
  return at::silu(embedding);
}

Tensor DitBackbone::image_of(const Tensor& tokens, const Tensor& condition) const {
  const auto lookup = [this](const std::string& name) { return find(name); };
  const std::vector<Tensor> m = Linear(lookup, "final_layer.adaLN_modulation.1")(condition).chunk(2, 1);
  const Tensor patches = Linear(lookup, "final_layer.linear")(modulated(tokens, m[0], m[1], kNormEps));
  const std::int64_t p = options_.patch, rows = spec_.image.height / p, columns = spec_.image.width / p;
  return patches.view({patches.size(0), rows, columns, p, p, spec_.out_channels})
      .permute({0, 5, 1, 3, 2, 4})
      .reshape({patches.size(0), spec_.out_channels, rows * p, columns * p});
}

}  // namespace casdm::dit
