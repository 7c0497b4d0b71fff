#include "framework/training/checkpoint_writer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <csignal>
#include <utility>

namespace casdm {

namespace {

/// While this object lives, the calling thread gets no signals, nor do threads that it starts ever.
class WithoutSignals {
 public:
  WithoutSignals() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~WithoutSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  WithoutSignals(const WithoutSignals&) = delete;
  WithoutSignals& operator=(const WithoutSignals&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

CheckpointWriter::Written CheckpointWriter::write(const CheckpointContent& content) const {
  Written written;
  written.images = content.numbers.find("images")->as_integer();
  written.path = Checkpoint::save(run_, content);
  Checkpoint::remove_old(run_, written.path, keep_last_,
                         [&](const std::string& warning) { written.warnings.push_back(warning); });
  return written;
}

void CheckpointWriter::begin(CheckpointContent content) {
  const WithoutSignals without_signals;
  writing_ = std::async(std::launch::async, [this, content = std::move(content)] { return write(content); });
}

bool CheckpointWriter::is_done() const {
  return writing_.valid() && writing_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

std::uint64_t bytes_of(const CheckpointContent& content) {
  std::uint64_t bytes = 0;
  for (const auto& [file, tensors] : content.tensors) {
    for (const auto& [name, tensor] : tensors) bytes += tensor.nbytes();
  }
  return bytes;
}

void copy_to_host(CheckpointContent& content) {
  const at::NoGradGuard no_grad;
  for (auto& [file, tensors] : content.tensors) {
    for (auto& [name, tensor] : tensors) {
      tensor = tensor.detach().to(at::TensorOptions(at::kCPU), /*non_blocking=*/false, /*copy=*/true,
                                  at::MemoryFormat::Contiguous);
    }
  }
}

}  // namespace casdm
