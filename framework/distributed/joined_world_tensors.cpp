#include "framework/distributed/joined_world.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <utility>

#include "casdm/text.h"

/// How a JoinedWorld exchanges tensors.
namespace casdm {

/// The elements of `tensor` as a tensor of bytes on the CPU.
at::Tensor JoinedWorld::as_bytes(const at::Tensor& tensor) {
  if (!tensor.device().is_cpu()) finish();
  return tensor.detach().to(at::kCPU).contiguous().view({-1}).view(at::kByte);
}

std::string JoinedWorld::use_device(c10::Device device) {
  const std::vector<std::string> reasons = gather(why_no_nccl(device));
  const auto is_reason = [](const std::string& reason) { return !reason.empty(); };
  const auto first = std::find_if(reasons.begin(), reasons.end(), is_reason);
  if (first != reasons.end()) {
    const bool is_needed = !device.is_cpu();
    const int rank = static_cast<int>(first - reasons.begin());
    return is_needed ? text("exchanged through the CPU's memory, since of ", name(rank), ", ", *first) : "";
  }
  in_group([&] {
    device_group_ =
        std::make_unique<NcclGroup>(loaded_nccl(), *store_, place_.rank, place_.size, device, device_streams(device),
                                    NcclGroup::Waiting{patience_.working, [this] { require_pulses(); }});
  });
  return "exchanged by NCCL " + loaded_nccl().version();
}

void JoinedWorld::finish(const std::function<bool()>& is_done) {
  if (is_broken_off_) throw ProcessLost("an exchange with the other processes was broken off", true);
  if (!device_group_) return;
  in_group([&] { device_group_->finish(is_done); });
}

bool JoinedWorld::any(bool own) {
  const at::Tensor count = at::full({1}, own ? 1 : 0, at::kFloat);
  in_group([&] { group_->sum(count); });
  return count.item<float>() > 0;
}

void JoinedWorld::sum(const at::Tensor& tensor) {
  in_group([&] {
    if (device_group_ && !tensor.device().is_cpu()) return device_group_->sum(tensor.detach());
    const at::Tensor total = tensor.detach().to(at::kCPU);
    group_->sum(total);
    if (!tensor.device().is_cpu()) tensor.detach().copy_(total);
  });
  tensor.unsafeGetTensorImpl()->bump_version();
}

void JoinedWorld::begin_sum(const at::Tensor& tensor) {
  if (sums_are_late_) {
    late_sums_.push_back(tensor);
  } else {
    begin_sum_now(tensor);
  }
}

void JoinedWorld::begin_sum_now(const at::Tensor& tensor) {
  const bool is_on_cpu = tensor.device().is_cpu();
  if (!is_on_cpu && !device_group_) return sum(tensor);
  if (!first_sum_) first_sum_ = Clock::now();
  in_group([&] { is_on_cpu ? group_->begin_sum(tensor.detach()) : device_group_->begin_sum(tensor.detach()); });
  tensor.unsafeGetTensorImpl()->bump_version();
}

void JoinedWorld::end_sums() {
  sums_are_late_ = false;
  for (const at::Tensor& tensor : std::exchange(late_sums_, {})) begin_sum_now(tensor);
  if (!first_sum_) return;
  in_group([&] {
    group_->end_sums();
    if (device_group_) device_group_->end_sums();
  });
  first_sum_.reset();
}

/// Concatenates the rows of all processes; backward, sums their gradients with respect to this process's rows.
class JoinedWorld::GatherRows : public torch::autograd::Function<GatherRows> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& own, JoinedWorld* world) {
    context->saved_data["world"] = reinterpret_cast<std::int64_t>(world);
    context->saved_data["rows"] = own.size(0);
    return world->gather(own);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): saved_data holds no pointers, so `forward` has saved it as an integer
    auto* const world = reinterpret_cast<JoinedWorld*>(context->saved_data["world"].toInt());
    const std::int64_t rows = context->saved_data["rows"].toInt();
    const at::Tensor total = gradients[0].to(at::kFloat).contiguous().clone();
    world->sum(total);
    return {total.narrow(0, world->rank() * rows, rows).to(gradients[0].scalar_type()), at::Tensor()};
  }
};

/// Processes may differ in which gradients they have when the backward pass comes to the rows, so no sum of gradients
/// begins before its end.
at::Tensor JoinedWorld::gather_with_gradient(const at::Tensor& own) {
  sums_are_late_ = true;
  return GatherRows::apply(own, this);
}

at::Tensor JoinedWorld::gather(const at::Tensor& own) {
  const at::Tensor elements = as_bytes(own);
  at::Tensor all;
  in_group([&] { all = group_->gather(elements); });
  std::vector<std::int64_t> shape = own.sizes().vec();
  shape.front() *= place_.size;
  return all.view({-1}).view(own.scalar_type()).view(shape).to(own.device());
}

void JoinedWorld::take_from_first(const at::Tensor& tensor) {
  if (tensor.numel() == 0) return;
  const at::Tensor elements = as_bytes(tensor).clone();
  in_group([&] { group_->broadcast(elements); });
  if (!is_first()) tensor.detach().copy_(elements.view(tensor.scalar_type()).view(tensor.sizes()));
}

void JoinedWorld::give_to_first(const at::Tensor& tensor, int from) {
  if (from == 0 || tensor.numel() == 0) return;
  if (place_.rank == from) {
    const at::Tensor elements = as_bytes(tensor);
    in_group([&] { group_->send_to_first(elements); });
  }
  if (!is_first()) return;
  const at::Tensor elements = at::empty({static_cast<std::int64_t>(tensor.nbytes())}, at::kByte);
  in_group([&] { group_->receive(elements, from); });
  tensor.detach().copy_(elements.view(tensor.scalar_type()).view(tensor.sizes()));
}

void JoinedWorld::exchange(const at::Tensor& flat, const std::vector<FlatRange>& ranges) {
  in_group([&] {
    if (device_group_ && !flat.device().is_cpu()) return device_group_->exchange(flat.detach(), ranges);
    const at::Tensor all = flat.detach().to(at::kCPU);
    group_->exchange(all, ranges);
    if (!flat.device().is_cpu()) flat.detach().copy_(all);
  });
  flat.unsafeGetTensorImpl()->bump_version();
}

}  // namespace casdm
