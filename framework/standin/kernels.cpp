#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/native/Resize.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/library.h>

#include <set>
#include <string>
#include <string_view>

#include "framework/standin/counts.h"
#include "framework/standin/generator.h"
#include "framework/standin/late_copies.h"
#include "framework/standin/on_host.h"
#include "framework/standin/recorder.h"

namespace at::native {

// Operators that LibTorch registers for both the CPU and CUDA.
Tensor as_strided_tensorimpl(const Tensor& self, IntArrayRef size, IntArrayRef stride, std::optional<int64_t> offset);
Tensor view(const Tensor& self, IntArrayRef size);
Tensor _reshape_alias(const Tensor& self, IntArrayRef size, IntArrayRef stride);
Tensor& set_storage_cpu_(Tensor& self, Storage source, int64_t offset, IntArrayRef size, IntArrayRef stride);
Tensor& set_tensor_(Tensor& self, const Tensor& source);

}  // namespace at::native

namespace casdm::standin {

namespace {

using at::IntArrayRef;
using at::Tensor;

/// Names of functions with CUDA kernels.
const std::set<std::string_view> kWithCudaKernel = {
#include "cuda_operators.inc"
};

/// Functions whose sizes or results the host reads from the device.
const std::set<std::string_view> kWaiting = {"nonzero",  "masked_select",      "equal",     "_unique2", "unique_dim",
                                             "bincount", "unique_consecutive", "is_set_to", "histc"};

/// Operators whose CUDA kernel LibTorch 2.11 refuses under deterministic algorithms. Its documentation leaves out what
/// Python computes in another way: the gradient of replication padding. The gradient of reflection_pad2d is not
/// refused.
const std::set<std::string_view> kNotDeterministic = {"_adaptive_avg_pool2d_backward",
                                                      "_adaptive_avg_pool3d_backward",
                                                      "_ctc_loss_backward",
                                                      "_upsample_bicubic2d_aa_backward",
                                                      "_upsample_bilinear2d_aa_backward",
                                                      "adaptive_max_pool2d_backward",
                                                      "avg_pool3d_backward",
                                                      "fractional_max_pool2d_backward",
                                                      "fractional_max_pool3d_backward",
                                                      "grid_sampler_2d_backward",
                                                      "grid_sampler_3d_backward",
                                                      "histc",
                                                      "kthvalue",
                                                      "max_pool3d_with_indices_backward",
                                                      "max_unpool2d",
                                                      "max_unpool3d",
                                                      "nll_loss2d_forward",
                                                      "put_",
                                                      "reflection_pad1d_backward",
                                                      "reflection_pad3d_backward",
                                                      "replication_pad1d_backward",
                                                      "replication_pad2d_backward",
                                                      "replication_pad3d_backward",
                                                      "upsample_bicubic2d_backward",
                                                      "upsample_bilinear2d_backward",
                                                      "upsample_linear1d_backward",
                                                      "upsample_trilinear3d_backward"};

/// Pointwise, though LibTorch does not tag them so: they accept a number on the CPU beside tensors on the device.
const std::set<std::string_view> kTakesNumber = {"fill_", "index_put_",  "_index_put_impl_", "lerp",
                                                 "lerp_", "masked_fill", "masked_fill_",     "where"};

bool is_index(std::string_view name) {
  return name == "index" || name == "index_put" || name == "index_put_" || name == "_index_put_impl_";
}

std::string full_name(const c10::OperatorName& name) {
  return name.overload_name.empty() ? name.name : name.name + "." + name.overload_name;
}

/// The name in kWithCudaKernel and the other lists: "add" of "aten::add.Tensor".
std::string_view base_name(const c10::OperatorName& name) {
  return std::string_view(name.name).substr(std::string_view("aten::").size());
}

/// Masks among the indices are converted to indices, for whose number the host waits.
void count_masks(const c10::IValue& indices) {
  if (!indices.isOptionalTensorList()) return;
  for (const std::optional<Tensor>& index : indices.toOptionalTensorVector()) {
    const bool is_mask = index.has_value() && index->defined() && index->device() == kStandIn &&
                         (index->scalar_type() == at::kBool || index->scalar_type() == at::kByte);
    if (is_mask) count_wait("the size of a mask");
  }
}

/// How many launches CUDA needs for `op`: an operator on lists needs one per tensor unless all tensors have the same
/// type, which does not matter for copies, and memory layout.
std::int64_t launches_of(const c10::OperatorHandle& op, const torch::jit::Stack& stack) {
  const std::string_view name = base_name(op.operator_name());
  if (!name.starts_with("_foreach_")) return 1;
  const std::size_t count = op.schema().arguments().size();
  const auto argument = [&](std::size_t i) -> const c10::IValue& { return stack[stack.size() - count + i]; };
  if (count < 2 || !argument(0).isTensorList() || !argument(1).isTensorList()) return 1;
  const std::vector<Tensor> first = argument(0).toTensorVector(), second = argument(1).toTensorVector();
  for (std::size_t i = 0; i < std::min(first.size(), second.size()); ++i) {
    const bool is_alike = (name == "_foreach_copy_" || first[i].scalar_type() == second[i].scalar_type()) &&
                          first[i].strides() == second[i].strides();
    if (!is_alike) return static_cast<std::int64_t>(first.size());
  }
  return 1;
}

/// Increments the version counters of the tensors that an operator on lists writes to, as CUDA's kernels for lists do.
void bump_versions(const c10::OperatorHandle& op, const torch::jit::Stack& stack) {
  if (!base_name(op.operator_name()).starts_with("_foreach_")) return;
  const auto& arguments = op.schema().arguments();
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const c10::IValue& value = stack[stack.size() - arguments.size() + i];
    const c10::AliasInfo* alias = arguments[i].alias_info();
    if (alias == nullptr || !alias->isWrite() || !value.isTensorList()) continue;
    for (const Tensor& tensor : value.toTensorVector()) tensor.unsafeGetTensorImpl()->bump_version();
  }
}

void compute(const c10::OperatorHandle& op, c10::DispatchKeySet, torch::jit::Stack* stack) {
  const c10::FunctionSchema& schema = op.schema();
  const std::string name = full_name(op.operator_name());
  const std::string_view base = base_name(op.operator_name());
  if (kNotDeterministic.contains(base)) at::globalContext().alertNotDeterministic(name);
  const bool takes_number =
      op.hasTag(at::Tag::pointwise) || base.starts_with("_foreach_") || kTakesNumber.contains(base);

  const std::int64_t launches = launches_of(op, *stack);
  bump_versions(op, *stack);
  OnHost on_host(name);
  const std::size_t count = schema.arguments().size();
  for (std::size_t i = 0; i < count; ++i) {
    c10::IValue& value = (*stack)[stack->size() - count + i];
    const bool is_indices = is_index(base) && i == 1;
    if (is_indices) count_masks(value);
    on_host.argument(value, [&](const Tensor& x) {
      if (is_indices) count_wait("a copy of indices to the device", static_cast<std::int64_t>(x.nbytes()));
      return is_indices || (takes_number && x.dim() == 0);
    });
    if (value.isDevice()) value = c10::Device(c10::kCPU);
    if (!value.isGenerator()) continue;
    const at::Generator generator = value.toGenerator();
    TORCH_CHECK(generator.device().is_cuda(), "Expected a 'cuda' device type for generator but found '",
                generator.device(), "'");
    value = static_cast<DeviceGenerator*>(generator.unsafeGetGeneratorImpl())->on_cpu();
  }
  const auto& returns = schema.returns();
  const bool is_view = std::any_of(returns.begin(), returns.end(), [](const c10::Argument& result) {
    return result.alias_info() != nullptr && !result.alias_info()->isWrite();
  });
  for (std::int64_t i = 0; i < launches && !is_view; ++i) count_launch(name);
  if (kWaiting.contains(base)) count_wait(name);

  call_on_host(op, *stack);
  on_host.update_arguments();
  for (std::size_t i = 0; i < returns.size(); ++i) on_host.result((*stack)[stack->size() - returns.size() + i]);
}

const c10::DispatchKeySet kKey(c10::DispatchKey::CUDA);

void require_device(const std::optional<at::Device>& device) {
  TORCH_CHECK(device.value_or(kStandIn).index() <= 0, "CUDA error: invalid device ordinal");
}

Tensor empty(IntArrayRef size, std::optional<at::ScalarType> type, std::optional<at::Layout>,
             std::optional<at::Device> device, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  require_device(device);
  return at::detail::empty_generic(size, device_allocator(), kKey, type.value_or(at::kFloat), format);
}

Tensor empty_strided(IntArrayRef size, IntArrayRef stride, std::optional<at::ScalarType> type,
                     std::optional<at::Layout>, std::optional<at::Device> device, std::optional<bool>) {
  require_device(device);
  return at::detail::empty_strided_generic(size, stride, device_allocator(), kKey, type.value_or(at::kFloat));
}

const Tensor& resize(const Tensor& self, IntArrayRef size, std::optional<at::MemoryFormat> format) {
  const DeviceCode code;
  at::native::resize_impl_cpu_(self.unsafeGetTensorImpl(), size, std::nullopt, /*resize_storage=*/true);
  if (format.has_value()) self.unsafeGetTensorImpl()->empty_tensor_restride(*format);
  return self;
}

Tensor as_strided(const Tensor& self, IntArrayRef size, IntArrayRef stride, std::optional<std::int64_t> offset) {
  return at::native::as_strided_tensorimpl(self, size, stride, offset);
}

Tensor view(const Tensor& self, IntArrayRef size) { return at::native::view(self, size); }

Tensor reshape_alias(const Tensor& self, IntArrayRef size, IntArrayRef stride) {
  return at::native::_reshape_alias(self, size, stride);
}

Tensor& set_storage(Tensor& self, at::Storage source, std::int64_t offset, IntArrayRef size, IntArrayRef stride) {
  const DeviceCode code;
  return at::native::set_storage_cpu_(self, std::move(source), offset, size, stride);
}

Tensor& set_tensor(Tensor& self, const Tensor& source) { return at::native::set_tensor_(self, source); }

/// Whether the thread queues its work on another stream than the default one.
bool is_aside() {
  const c10::impl::VirtualGuardImpl streams(c10::kCUDA);
  return streams.getStream(kStandIn) != streams.getDefaultStream(kStandIn);
}

/// A tensor's memory is free as soon as nothing refers to it, since what is queued has been computed by then.
void record_stream(Tensor&, at::Stream) {}

/// Copies between the devices, or on one of them.
Tensor& copy(Tensor& self, const Tensor& source, bool non_blocking) {
  OnHost on_host("aten::copy_");
  const auto host = [&](const Tensor& x) { return x.is_cpu() ? x : on_host.argument(x); };
  bool is_late = false;
  if (self.is_cpu() || source.is_cpu()) {
    const bool is_pinned_memory = is_pinned((self.is_cpu() ? self : source).storage().data());
    if (non_blocking && is_pinned_memory) {
      count_free_copy(is_aside());
      is_late = self.is_cpu() || is_aside();
    } else {
      count_wait(self.is_cpu() ? "a copy to the host" : "a copy to the device",
                 static_cast<std::int64_t>(source.nbytes()));
    }
  } else {
    count_launch("aten::copy_");
  }
  const KernelsOnly kernels;
  const Tensor to = host(self), from = host(source);
  if (is_late) {
    queue_copy(to, from);
    return self;
  }
  if (Recorder* recorder = Recorder::current()) {
    recorder->will_write(to.storage());
    recorder->add([to, from] { Tensor(to).copy_(from); });
  }
  Tensor(to).copy_(from);
  return self;
}

at::Scalar number(const Tensor& self) {
  count_item();
  count_wait("a number");
  const KernelsOnly kernels;
  return at::_local_scalar_dense(OnHost("aten::_local_scalar_dense").argument(self));
}

/// Whether the operator has a kernel on CUDA that `compute` can replace. Convolution has none of its own: it calls the
/// kernels of cuDNN and others by name.
bool is_computed(const c10::OperatorHandle& op) {
  const std::string_view base = base_name(op.operator_name());
  if (base == "convolution" || base == "convolution_backward") return op.operator_name().overload_name.empty();
  const bool has_kernel = kWithCudaKernel.contains(base) || kWithCudaKernel.contains(std::string(base) + "_outf");
  // The CPU processes operators on lists one tensor at a time.
  const bool is_list =
      base.starts_with("_foreach_") && op.hasKernelForDispatchKey(c10::DispatchKey::CompositeExplicitAutograd);
  return has_kernel && (is_list || op.hasKernelForDispatchKey(c10::DispatchKey::CPU));
}

TORCH_LIBRARY_IMPL(aten, CUDA, library) {
  std::set<std::string> own;
  const auto add = [&](const char* name, auto* kernel) {
    library.impl(name, kernel);
    own.insert(std::string("aten::") + name);
  };
  add("empty.memory_format", &empty);
  add("empty_strided", &empty_strided);
  add("resize_", &resize);
  add("as_strided", &as_strided);
  add("view", &view);
  add("_reshape_alias", &reshape_alias);
  add("set_.source_Storage_storage_offset", &set_storage);
  add("set_.source_Tensor", &set_tensor);
  add("copy_", &copy);
  add("record_stream", &record_stream);
  add("_local_scalar_dense", &number);
  for (const c10::OperatorName& name : c10::Dispatcher::singleton().getAllOpNames()) {
    if (!name.name.starts_with("aten::") || own.contains(full_name(name)) || base_name(name) == "set_") continue;
    const std::optional<c10::OperatorHandle> op = c10::Dispatcher::singleton().findSchema(name);
    if (!op.has_value() || !is_computed(*op)) continue;
    library.impl(full_name(name).c_str(), torch::CppFunction::makeFromBoxedFunction<&compute>());
  }
}

}  // namespace

}  // namespace casdm::standin
