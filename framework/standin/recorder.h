#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/Storage.h>
#include <c10/core/Stream.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "framework/device/device_graph.h"

namespace casdm::standin {

/// What is computed on one stream, to be replayed. As on CUDA, recording leaves memory as it is: what was written to
/// gets its old content back, and results have none until the first replay.
class Recorder {
 public:
  Recorder();
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  /// The one that records what the calling thread computes; null: none.
  static Recorder* current();

  /// Adds what a replay does next. Its tensors are the host's, of the device's memory (see OnHost).
  void add(std::function<void()> call) { calls_.push_back(std::move(call)); }

  /// To be called before `memory` is written to, by a call that is recorded.
  void will_write(const c10::Storage& memory);

  /// To be called for new memory.
  void has_made(const c10::Storage& memory) { made_.emplace(memory.data(), memory); }

  c10::Stream stream() const { return stream_; }
  std::vector<std::function<void()>> take_calls() { return std::move(calls_); }

 private:
  struct Saved {
    c10::Storage memory;
    std::vector<char> content;
  };
  c10::Stream stream_;
  std::vector<std::function<void()>> calls_;
  std::map<const void*, Saved> saved_;
  std::map<const void*, c10::Storage> made_;
};

/// A GraphRecorder.
std::unique_ptr<DeviceGraph> record(const std::function<void()>& work);

/// Throws the error of CUDA for what is not allowed while the calling thread records.
/// @param action  "the host waits for a number in 'NAME'"
void refuse_while_recording(const std::string& action);

/// The results of `compute`, host tensors of the device's memory; recorded if the thread records.
std::vector<at::Tensor> recorded(const std::function<std::vector<at::Tensor>()>& compute);

/// Calls the CPU's kernel of `op`, with its arguments at the end of `stack`; recorded if the thread records.
void call_on_host(const c10::OperatorHandle& op, torch::jit::Stack& stack);

}  // namespace casdm::standin
