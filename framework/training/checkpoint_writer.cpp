#include "framework/training/checkpoint_writer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <csignal>
#include <map>
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

Tensor host_copy(const Tensor& tensor) {
  return tensor.detach().to(at::TensorOptions(at::kCPU), /*non_blocking=*/false, /*copy=*/true,
                            at::MemoryFormat::Contiguous);
}

/// Copies of tensors in the host's memory. Memory of which they take most is copied at once: the parameters of a module
/// lie in one piece, and a GPU waits for each copy.
class HostCopies {
 public:
  explicit HostCopies(const std::vector<NamedTensors*>& lists) {
    for (const NamedTensors* tensors : lists) {
      for (const auto& [name, tensor] : *tensors) bytes_[piece_of(tensor)] += tensor.nbytes();
    }
  }

  Tensor of(const Tensor& tensor) {
    const std::size_t piece = tensor.storage().nbytes();
    if (4 * bytes_.at(piece_of(tensor)) < 3 * piece) return host_copy(tensor);
    Tensor& copy = copies_[piece_of(tensor)];
    if (!copy.defined()) {
      const auto count = static_cast<std::int64_t>(piece / tensor.element_size());
      copy = host_copy(tensor.detach().as_strided({count}, {1}, 0));
    }
    return copy.as_strided(tensor.sizes(), tensor.strides(), tensor.storage_offset()).contiguous();
  }

 private:
  using Piece = std::pair<const void*, at::ScalarType>;
  static Piece piece_of(const Tensor& tensor) { return {tensor.storage().data(), tensor.scalar_type()}; }

  std::map<Piece, std::uint64_t> bytes_;  ///< that the tensors take of it
  std::map<Piece, Tensor> copies_;
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

void CheckpointWriter::begin_after(std::function<void(Written&)> write) {
  const WithoutSignals without_signals;
  writing_ = std::async(std::launch::async, [earlier = std::move(writing_), write = std::move(write)]() mutable {
    Written written = earlier.valid() ? earlier.get() : Written();
    write(written);
    return written;
  });
}

void CheckpointWriter::begin(CheckpointContent content) {
  begin_after([this, content = std::move(content)](Written& written) { written = write(content); });
}

void CheckpointWriter::begin(std::vector<SnapshotContent> snapshots) {
  begin_after([this, snapshots = std::move(snapshots)](Written&) { save_ema_snapshots(run_, snapshots); });
}

bool CheckpointWriter::is_done() const {
  return writing_.valid() && writing_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

bool writes_in_background(BackgroundMode mode, c10::Device device) {
  return mode == BackgroundMode::always || (mode == BackgroundMode::automatic && !device.is_cpu());
}

std::vector<NamedTensors*> tensors_of(CheckpointContent& content) {
  std::vector<NamedTensors*> lists;
  for (auto& [file, tensors] : content.tensors) lists.push_back(&tensors);
  return lists;
}

std::vector<NamedTensors*> tensors_of(std::vector<SnapshotContent>& snapshots) {
  std::vector<NamedTensors*> lists;
  for (SnapshotContent& snapshot : snapshots) lists.push_back(&snapshot.tensors);
  return lists;
}

std::uint64_t bytes_of(const std::vector<NamedTensors*>& lists) {
  std::uint64_t bytes = 0;
  for (const NamedTensors* tensors : lists) {
    for (const auto& [name, tensor] : *tensors) bytes += tensor.nbytes();
  }
  return bytes;
}

void copy_to_host(const std::vector<NamedTensors*>& lists) {
  const at::NoGradGuard no_grad;
  HostCopies copies(lists);
  for (NamedTensors* tensors : lists) {
    for (auto& [name, tensor] : *tensors) tensor = copies.of(tensor);
  }
}

}  // namespace casdm
