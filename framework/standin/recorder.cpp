#include "framework/standin/recorder.h"

#include <ATen/ATen.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include "framework/standin/counts.h"
#include "framework/standin/memory.h"
#include "framework/standin/on_host.h"
#include "framework/standin/tf32.h"

namespace casdm::standin {

namespace {

std::atomic<Recorder*> recording = nullptr;

c10::Stream stream_of_thread() { return c10::impl::VirtualGuardImpl(c10::kCUDA).getStream(kStandIn); }

/// Copies a result of a replay to where that of the recording lies.
void write_result(const at::Tensor& place, const at::Tensor& result) {
  if (!result.defined() || place.storage().data() == result.storage().data()) return;
  TORCH_CHECK(place.sizes() == result.sizes(), "a replayed operator has a result of another size: ", result.sizes(),
              " instead of ", place.sizes());
  at::Tensor(place).copy_(result);
}

void write_result(const c10::IValue& place, const c10::IValue& result) {
  if (result.isTensor()) return write_result(place.toTensor(), result.toTensor());
  if (!result.isTensorList()) return;
  const std::vector<at::Tensor> places = place.toTensorVector(), results = result.toTensorVector();
  for (std::size_t i = 0; i < results.size(); ++i) write_result(places[i], results[i]);
}

std::vector<at::Tensor> tensors_in(const c10::IValue& value) {
  std::vector<at::Tensor> found;
  if (value.isTensor()) found.push_back(value.toTensor());
  if (value.isTensorList()) found = value.toTensorVector();
  std::erase_if(found, [](const at::Tensor& tensor) { return !tensor.defined(); });
  return found;
}

class Graph final : public DeviceGraph {
 public:
  explicit Graph(std::vector<std::function<void()>> calls) : calls_(std::move(calls)) {}

  void replay() override {
    count_launch("graph");
    const DeviceCode code;
    const KernelsOnly kernels;
    for (const auto& call : calls_) call();
  }

 private:
  std::vector<std::function<void()>> calls_;
};

}  // namespace

Recorder::Recorder() : stream_(c10::impl::VirtualGuardImpl(c10::kCUDA).getNewStream(kStandIn)) { recording = this; }

Recorder::~Recorder() {
  recording = nullptr;
  const DeviceCode code;
  for (const auto& [data, memory] : made_) std::memset(memory.mutable_data(), kNothing, memory.nbytes());
  for (auto& [data, saved] : saved_) {
    std::memcpy(saved.memory.mutable_data(), saved.content.data(), saved.content.size());
  }
}

Recorder* Recorder::current() {
  Recorder* const active = recording;
  return active != nullptr && stream_of_thread() == active->stream_ ? active : nullptr;
}

void Recorder::will_write(const c10::Storage& memory) {
  const auto* const data = static_cast<const char*>(memory.data());
  if (data == nullptr || saved_.contains(data) || made_.contains(data)) return;
  saved_.emplace(data, Saved{memory, {data, data + memory.nbytes()}});
}

std::unique_ptr<DeviceGraph> record(const std::function<void()>& work) {
  TORCH_CHECK(recording == nullptr, "a graph is being recorded already");
  Recorder recorder;
  {
    const c10::StreamGuard guard(recorder.stream());
    work();
  }
  return std::make_unique<Graph>(recorder.take_calls());
}

void refuse_while_recording(const std::string& action) {
  TORCH_CHECK(Recorder::current() == nullptr, "CUDA error: operation not permitted when stream is capturing: ", action);
}

std::vector<at::Tensor> recorded(const std::function<std::vector<at::Tensor>()>& compute) {
  std::vector<at::Tensor> results = compute();
  Recorder* const recorder = Recorder::current();
  if (recorder == nullptr) return results;
  for (const at::Tensor& result : results) recorder->has_made(result.storage());
  recorder->add([compute, results] {
    const std::vector<at::Tensor> again = compute();
    for (std::size_t i = 0; i < results.size(); ++i) write_result(results[i], again[i]);
  });
  return results;
}

void call_on_host(const c10::OperatorHandle& op, torch::jit::Stack& stack) {
  const KernelsOnly kernels;
  const auto call = [op, is_tf32 = computes_in_tf32(op, stack)](torch::jit::Stack& arguments) {
    if (is_tf32) round_to_tf32(op, arguments);
    op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), &arguments);
  };
  Recorder* const recorder = Recorder::current();
  if (recorder == nullptr) return call(stack);
  const c10::FunctionSchema& schema = op.schema();
  const auto first = stack.end() - static_cast<std::ptrdiff_t>(schema.arguments().size());
  const torch::jit::Stack arguments(first, stack.end());
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const c10::AliasInfo* alias = schema.arguments()[i].alias_info();
    if (alias == nullptr || !alias->isWrite()) continue;
    for (const at::Tensor& written : tensors_in(arguments[i])) recorder->will_write(written.storage());
  }
  call(stack);
  const torch::jit::Stack results(stack.end() - static_cast<std::ptrdiff_t>(schema.returns().size()), stack.end());
  std::vector<const void*> given;
  for (const c10::IValue& argument : arguments) {
    for (const at::Tensor& tensor : tensors_in(argument)) given.push_back(tensor.storage().data());
  }
  for (const c10::IValue& result : results) {
    for (const at::Tensor& tensor : tensors_in(result)) {
      const bool is_new = std::find(given.begin(), given.end(), tensor.storage().data()) == given.end();
      if (is_new) recorder->has_made(tensor.storage());
    }
  }
  recorder->add([call, arguments, results] {
    torch::jit::Stack again = arguments;
    call(again);
    for (std::size_t i = 0; i < results.size(); ++i) write_result(results[i], again[i]);
  });
}

}  // namespace casdm::standin
