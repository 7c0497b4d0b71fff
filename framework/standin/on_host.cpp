#include "framework/standin/on_host.h"

#include <ATen/core/TensorBody.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/TensorImpl.h>

#include "framework/standin/counts.h"

namespace casdm::standin {

namespace {

at::Tensor on_storage(const c10::Storage& storage, c10::DispatchKey key, const at::Tensor& like) {
  at::Tensor result =
      at::detail::make_tensor<c10::TensorImpl>(c10::Storage(storage), c10::DispatchKeySet(key), like.dtype());
  c10::TensorImpl* impl = result.unsafeGetTensorImpl();
  impl->set_sizes_and_strides(like.sizes(), like.strides(), like.storage_offset());
  if (like.unsafeGetTensorImpl()->is_wrapped_number()) impl->set_wrapped_number(true);
  return result;
}

}  // namespace

at::Tensor OnHost::argument(const at::Tensor& x) {
  if (!x.defined()) return x;
  TORCH_CHECK(x.device() == kStandIn, "Expected all tensors to be on the same device, but found at least two devices, ",
              kStandIn, " and ", x.device(), "! (in ", op_, ")");
  for (const Pair& pair : pairs_) {
    if (pair.device.is_same(x)) return pair.host;
  }
  const c10::StorageImpl* storage = x.storage().unsafeGetStorageImpl();
  auto found = to_host_.find(storage);
  if (found == to_host_.end()) {
    found = to_host_.emplace(storage, same_memory(x.storage(), c10::Device(c10::kCPU))).first;
    to_device_.emplace(found->second.unsafeGetStorageImpl(), x.storage());
  }
  return pairs_.emplace_back(Pair{x, on_storage(found->second, c10::DispatchKey::CPU, x)}).host;
}

void OnHost::update_arguments() const {
  for (const auto& [device, host] : pairs_) {
    c10::StorageImpl* storage = device.storage().unsafeGetStorageImpl();
    if (host.storage().data() != storage->data()) {  // the kernel has resized it
      c10::Storage resized = same_memory(host.storage(), kStandIn);
      storage->set_data_ptr_noswap(std::move(resized.unsafeGetStorageImpl()->mutable_data_ptr()));
      storage->set_nbytes(host.storage().nbytes());
    }
    const bool is_same = host.sizes() == device.sizes() && host.strides() == device.strides() &&
                         host.storage_offset() == device.storage_offset();
    if (is_same) continue;
    device.unsafeGetTensorImpl()->set_sizes_and_strides(host.sizes(), host.strides(), host.storage_offset());
  }
}

at::Tensor OnHost::result(const at::Tensor& result) {
  if (!result.defined() || result.device() == kStandIn) return result;
  for (const Pair& pair : pairs_) {
    if (pair.host.is_same(result)) return pair.device;
  }
  const c10::StorageImpl* storage = result.storage().unsafeGetStorageImpl();
  auto found = to_device_.find(storage);
  if (found == to_device_.end()) {
    count_allocation();
    found = to_device_.emplace(storage, same_memory(result.storage(), kStandIn)).first;
  }
  return on_storage(found->second, c10::DispatchKey::CUDA, result);
}

void OnHost::result(c10::IValue& value) {
  if (value.isTensor()) {
    value = result(value.toTensor());
  } else if (value.isTensorList()) {
    c10::List<at::Tensor> list;
    for (const at::Tensor& x : value.toTensorVector()) list.push_back(result(x));
    value = std::move(list);
  }
}

}  // namespace casdm::standin
