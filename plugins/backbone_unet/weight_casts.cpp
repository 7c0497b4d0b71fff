#include "weight_casts.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <string>
#include <utility>

#include "casdm/block_kernel.h"
#include "casdm/on_device.h"
#include "casdm/text.h"
#include "convolution/typed_kernel.h"

namespace casdm::unet {

namespace {

constexpr std::int64_t kPieceLength = 4096;
constexpr std::int64_t kPieceThreads = 256;
constexpr std::int64_t kPieceNumbers = 8;

constexpr const char* kCastKernels =
#include "weight_casts_device.inc"
    ;

std::string cast_source() { return text(kWeightPieces, kCastKernels); }

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

std::vector<std::int64_t> strides_of_cast(const Tensor& weight, at::MemoryFormat format) {
  const bool is_reordered = weight.dim() == 4 && format == at::MemoryFormat::ChannelsLast;
  return is_reordered ? c10::get_channels_last_strides_2d(weight.sizes()) : weight.strides().vec();
}

/// Whether `grad` can be described by pieces: its elements lie side by side, and the last two of four dimensions can be
/// counted as one.
bool has_pieces(const Tensor& grad) {
  const bool has_rows_in_order = grad.dim() < 4 || grad.size(2) == 1 || grad.stride(2) == grad.size(3) * grad.stride(3);
  return grad.is_non_overlapping_and_dense() && has_rows_in_order;
}

void move_pieces(const BlockKernel& kernel, const Tensor& pieces, const Tensor& from, const Tensor& to) {
  BlockLaunch moving;
  moving.tensors = {pieces, from, to};
  moving.blocks = pieces.size(0);
  moving.threads = kPieceThreads;
  launch(kernel, moving);
}

class CastFunction : public torch::autograd::Function<CastFunction> {
 public:
  static variable_list forward(AutogradContext* ctx, const c10::intrusive_ptr<CastLayout>& layout,
                               at::TensorList weights) {
    const at::AutoDispatchBelowADInplaceOrView no_views;  // the casts share memory, but change no longer
    ctx->saved_data["layout"] = c10::IValue::make_capsule(layout);
    ctx->save_for_backward(weights.vec());
    const Tensor casts = layout->is_current ? layout->shadow.values : cast(*layout, weights);
    variable_list result;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      Tensor& made =
          result.emplace_back(casts.as_strided(weights[i].sizes(), layout->strides_of_casts[i], layout->offsets[i]));
      // So that a backward pass after the optimiser has written the next casts is an error.
      made.unsafeGetTensorImpl()->set_version_counter(casts.unsafeGetTensorImpl()->version_counter());
    }
    return result;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto layout = c10::static_intrusive_pointer_cast<CastLayout>(ctx->saved_data["layout"].toCapsule());
    const variable_list weights = ctx->get_saved_variables();
    note_strides(*layout, weights, grads);
    const Tensor unordered = at::empty({layout->length}, weights.front().options());
    const Tensor ordered = at::empty_like(unordered);
    variable_list converted, found, result(1);  // the layout has no gradient
    for (std::size_t i = 0; i < grads.size(); ++i) {
      Tensor& of_weight = result.emplace_back();
      if (!grads[i].defined()) continue;
      found.push_back(grads[i]);
      converted.push_back(unordered.as_strided(grads[i].sizes(), grads[i].strides(), layout->offsets[i]));
      of_weight = ordered.as_strided(weights[i].sizes(), weights[i].strides(), layout->offsets[i]);
    }
    at::_foreach_copy_(converted, found);  // by one kernel, since the strides agree
    static const BlockKernel kernel{"order_gradients", text("using Value = float;\n", cast_source())};
    move_pieces(kernel, layout->of_gradients, unordered, ordered);
    return result;
  }

 private:
  static Tensor cast(const CastLayout& layout, at::TensorList weights) {
    const Tensor flat = weights[0].as_strided({layout.length}, {1}, 0);
    const Tensor casts = at::empty({layout.length}, flat.options().dtype(layout.type));
    static const BlockKernel to_float = convolution::typed_kernel("cast_weights", at::kFloat, cast_source());
    static const BlockKernel to_bfloat16 = convolution::typed_kernel("cast_weights", at::kBFloat16, cast_source());
    move_pieces(layout.type == at::kFloat ? to_float : to_bfloat16, layout.of_casts, flat, casts);
    return casts;
  }

  static void note_strides(CastLayout& layout, const variable_list& weights, variable_list& grads) {
    CastLayout::Strides strides;
    for (Tensor& grad : grads) {
      if (grad.defined() && !has_pieces(grad)) grad = grad.contiguous();
      strides.push_back(grad.defined() ? grad.strides().vec() : std::vector<std::int64_t>());
    }
    if (strides == layout.strides_of_gradients) return;
    layout.of_gradients = layout.pieces_of(weights, strides);
    layout.strides_of_gradients = std::move(strides);
  }
};

/// Of the network that this thread evaluates, by weight.
thread_local std::unordered_map<const c10::TensorImpl*, Tensor> casts_in_use;

std::vector<std::int64_t> offsets_of(const std::vector<Tensor>& weights) {
  std::vector<std::int64_t> result;
  for (const Tensor& weight : weights) result.push_back(weight.storage_offset());
  return result;
}

}  // namespace

CastLayout::CastLayout(const std::vector<Tensor>& weights, at::ScalarType type, at::MemoryFormat format)
    : type(type), format(format), offsets(offsets_of(weights)) {
  for (const Tensor& weight : weights) {
    length = std::max(length, weight.storage_offset() + weight.numel());
    strides_of_casts.push_back(strides_of_cast(weight, format));
  }
  of_casts = pieces_of(weights, strides_of_casts);
}

bool CastLayout::is_for(const std::vector<Tensor>& weights, at::ScalarType wanted_type,
                        at::MemoryFormat wanted_format) const {
  return of_casts.device() == weights.front().device() && type == wanted_type && format == wanted_format &&
         offsets == offsets_of(weights);
}

Tensor CastLayout::pieces_of(const std::vector<Tensor>& weights, const Strides& strides, std::int64_t count) const {
  std::vector<int> rows;
  const auto add = [&](std::int64_t offset, std::int64_t length, const std::array<std::int64_t, 5>& order) {
    for (std::int64_t first = 0; first < length; first += kPieceLength) {
      for (const std::int64_t number : {offset, first, std::min(kPieceLength, length - first)}) {
        rows.push_back(static_cast<int>(number));
      }
      rows.insert(rows.end(), order.begin(), order.end());
    }
  };
  std::map<std::int64_t, std::int64_t> taken;  // where weights begin and end
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const at::IntArrayRef sizes = weights[i].sizes(), along = strides[i];
    if (along.empty()) continue;
    const std::int64_t columns = sizes.size() > 1 ? sizes[1] : 1;
    const std::int64_t positions = sizes.size() > 2 ? c10::multiply_integers(sizes.slice(2)) : 1;
    add(offsets[i], weights[i].numel(),
        {columns, positions, along[0], sizes.size() > 1 ? along[1] : 0, sizes.size() > 2 ? along.back() : 0});
    taken[offsets[i]] = offsets[i] + weights[i].numel();
  }
  if (count > 0) taken[count] = count;
  std::int64_t end = 0;
  for (const auto& [begin, next] : taken) {
    if (count > 0 && begin > end) add(end, begin - end, {});
    end = std::max(end, next);
  }
  const auto count_of_rows = static_cast<std::int64_t>(rows.size()) / kPieceNumbers;
  return to_device(at::tensor(rows, at::kInt).view({count_of_rows, kPieceNumbers}), weights.front().device());
}

bool WeightCasts::lie_in_one_piece(c10::Device device) const {
  const Tensor& first = weights_.front();
  constexpr std::size_t kMostBytes = sizeof(float) * std::numeric_limits<std::int32_t>::max();
  return first.storage().nbytes() <= kMostBytes &&
         std::all_of(weights_.begin(), weights_.end(), [&](const Tensor& weight) {
           return weight.device() == device && weight.scalar_type() == at::kFloat && weight.is_contiguous() &&
                  weight.storage().is_alias_of(first.storage());
         });
}

/// All of them in another type; in their own the kernels whose order depends on the format.
std::vector<Tensor> WeightCasts::cast_for(at::ScalarType type) const {
  if (type != at::kFloat) return weights_;
  std::vector<Tensor> result;
  for (const Tensor& weight : weights_) {
    if (weight.dim() == 4 && weight.size(2) * weight.size(3) > 1) result.push_back(weight);
  }
  return result;
}

WeightCasts::Use::Use(WeightCasts& casts, c10::Device device, at::MemoryFormat format) {
  before_.swap(casts_in_use);
  const bool is_autocast = at::autocast::is_autocast_enabled(device.type());
  const at::ScalarType type = is_autocast ? at::autocast::get_autocast_dtype(device.type()) : at::kFloat;
  const bool is_useful = type == at::kBFloat16 || (!is_autocast && format == at::MemoryFormat::ChannelsLast);
  if (!is_useful || !takes_block_kernels(device) || !casts.lie_in_one_piece(device)) return;
  const std::vector<Tensor> weights = casts.cast_for(type);
  c10::intrusive_ptr<CastLayout>& layout = casts.layout_;
  if (!layout || !layout->is_for(weights, type, format)) {
    layout = c10::make_intrusive<CastLayout>(weights, type, format);
  }
  layout->is_current = layout->shadow.values.defined() && casts.shadowed_at_ == casts.changes();
  const variable_list made = CastFunction::apply(layout, at::TensorList(weights));
  for (std::size_t i = 0; i < made.size(); ++i) casts_in_use[weights[i].unsafeGetTensorImpl()] = made[i];
}

WeightCasts::Use::~Use() { before_.swap(casts_in_use); }

WeightShadow WeightCasts::begin_shadow(const Tensor& weights) {
  shadowed_at_ = 0;
  const bool are_these = weights.is_contiguous() && weights.storage_offset() == 0 &&
                         weights.storage().is_alias_of(weights_.front().storage()) &&
                         lie_in_one_piece(weights.device());
  if (!are_these || !layout_ || !layout_->is_for(weights_, at::kBFloat16, layout_->format)) return {};
  flat_ = weights;
  WeightShadow& shadow = layout_->shadow;
  if (!shadow.values.defined() || shadow.values.numel() != weights.numel()) {
    shadow.values = at::empty_like(weights, at::kBFloat16);
    shadow.pieces = layout_->pieces_of(weights_, layout_->strides_of_casts, weights.numel());
  }
  shadow.values.unsafeGetTensorImpl()->bump_version();
  return shadow;
}

void WeightCasts::end_shadow() { shadowed_at_ = changes(); }

/// Greater after each change of a weight, through any of its tensors; more than 0 once there is a shadow.
std::int64_t WeightCasts::changes() const {
  std::int64_t result = 1 + (flat_.defined() ? flat_._version() : 0);
  for (const Tensor& weight : weights_) result += weight._version();
  return result;
}

Tensor cast(const Tensor& weight) {
  const auto found = casts_in_use.find(weight.unsafeGetTensorImpl());
  return found == casts_in_use.end() ? weight : found->second;
}

}  // namespace casdm::unet
