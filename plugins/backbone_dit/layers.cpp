#include "layers.h"

#include <ATen/ATen.h>

#include <vector>

#include "casdm/random.h"

namespace casdm::dit {

Tensor Linear::operator()(const Tensor& x) const { return at::linear(x, weight, bias); }

Tensor modulated(const Tensor& x, const Tensor& shift, const Tensor& scale, double eps) {
  return at::layer_norm(x, {x.size(-1)}, {}, {}, eps) * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1);
}

Block::Block(const Lookup& find, const std::string& name, const BlockOptions& options)
    : options_(options),
      dropout_layer_(derive_seed(0, name)),
      qkv_(find, name + ".attn.qkv"),
      proj_(find, name + ".attn.proj"),
      fc1_(find, name + ".mlp.fc1"),
      fc2_(find, name + ".mlp.fc2"),
      modulation_(find, name + ".adaLN_modulation.1") {
  if (options.has_skip) skip_.emplace(find, name + ".skip_linear");
}

Tensor Block::operator()(const Tensor& x, const Tensor& condition, const Tensor& skip, const Dropout& dropout) const {
  constexpr double kNormEps = 1e-6;
  const Tensor input = skip_ ? (*skip_)(at::cat({x, skip}, 2)) : x;
  const std::vector<Tensor> m = modulation_(condition).chunk(6, 1);
  const auto dropped = [&](const Tensor& update, std::uint64_t layer) {
    return dropout.apply(update, options_.dropout, dropout_layer_ + layer);
  };
  const Tensor attended = attention(modulated(input, m[0], m[1], kNormEps));
  const Tensor h = input + m[2].unsqueeze(1) * dropped(attended, 0);
  const Tensor hidden = at::gelu(fc1_(modulated(h, m[3], m[4], options_.mlp_norm_eps)), "tanh");
  return h + m[5].unsqueeze(1) * dropped(fc2_(hidden), 1);
}

Tensor Block::attention(const Tensor& x) const {
  const std::int64_t batch = x.size(0), tokens = x.size(1), width = x.size(2);
  const std::vector<Tensor> parts =
      qkv_(x).view({batch, tokens, 3, options_.heads, width / options_.heads}).permute({2, 0, 3, 1, 4}).unbind(0);
  const Tensor mixed = at::scaled_dot_product_attention(parts[0], parts[1], parts[2]);
  return proj_(mixed.transpose(1, 2).reshape({batch, tokens, width}));
}

}  // namespace casdm::dit
