#include "framework/distributed/process_group.h"

#include <ATen/ATen.h>

#include <cstdlib>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <utility>
#include <vector>

namespace casdm {

namespace {

using Gloo = c10d::ProcessGroupGloo;

class GlooGroup final : public ProcessGroup {
 public:
  GlooGroup(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size, c10::intrusive_ptr<Gloo::Options> options)
      : gloo_(c10::make_intrusive<Gloo>(store, rank, size, std::move(options))) {}

  void sum(at::Tensor tensor) override { queued_sum(std::move(tensor))->wait(); }

  void begin_sum(at::Tensor tensor) override { sums_.push_back(queued_sum(std::move(tensor))); }

  void end_sums() override {
    for (const auto& sum : std::exchange(sums_, {})) sum->wait();
  }

  at::Tensor gather(at::Tensor own) override {
    std::vector<std::vector<at::Tensor>> all(1);
    for (int i = 0; i < gloo_->getSize(); ++i) all[0].push_back(at::empty_like(own));
    std::vector<at::Tensor> tensors{std::move(own)};
    gloo_->allgather(all, tensors)->wait();
    return at::stack(all[0]);
  }

  void broadcast(at::Tensor tensor) override { begin_broadcast(std::move(tensor), 0)->wait(); }

  void send_to_first(at::Tensor tensor) override {
    std::vector<at::Tensor> tensors{std::move(tensor)};
    gloo_->send(tensors, 0, 0)->wait();
  }

  void receive(at::Tensor tensor, int from) override {
    std::vector<at::Tensor> tensors{std::move(tensor)};
    gloo_->recv(tensors, from, 0)->wait();
  }

  void exchange(const at::Tensor& flat, const std::vector<FlatRange>& ranges) override {
    std::vector<c10::intrusive_ptr<c10d::Work>> works;
    for (std::size_t rank = 0; rank < ranges.size(); ++rank) {
      const auto [offset, length] = ranges[rank];
      if (length > 0) works.push_back(begin_broadcast(flat.narrow(0, offset, length), static_cast<int>(rank)));
    }
    for (const auto& work : works) work->wait();
  }

 private:
  c10::intrusive_ptr<c10d::Work> queued_sum(at::Tensor tensor) {
    std::vector<at::Tensor> tensors{std::move(tensor)};
    return gloo_->allreduce(tensors);
  }

  c10::intrusive_ptr<c10d::Work> begin_broadcast(at::Tensor tensor, int root) {
    c10d::BroadcastOptions options;
    options.rootRank = root;
    std::vector<at::Tensor> tensors{std::move(tensor)};
    return gloo_->broadcast(tensors, options);
  }

  c10::intrusive_ptr<Gloo> gloo_;
  std::vector<c10::intrusive_ptr<c10d::Work>> sums_;
};

}  // namespace

std::unique_ptr<ProcessGroup> connect(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                                      const std::string& address, std::chrono::milliseconds patience) {
  c10::intrusive_ptr<Gloo::Options> options;
  if (address.empty() || std::getenv("GLOO_SOCKET_IFNAME") != nullptr) {
    options = Gloo::Options::create_default(patience);
  } else {
    options = Gloo::Options::create(patience);
    options->devices.push_back(Gloo::createDeviceForHostname(address));
  }
  return std::make_unique<GlooGroup>(store, rank, size, std::move(options));
}

}  // namespace casdm
