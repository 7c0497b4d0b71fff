#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "framework/distributed/nccl_group.h"
#include "framework/distributed/process_group.h"
#include "framework/distributed/process_place.h"
#include "framework/distributed/pulse.h"
#include "framework/distributed/world.h"

namespace casdm {

/// How long processes wait for one another: `CASDM_JOIN_SECONDS` (300) until all have started, `CASDM_WAIT_SECONDS`
/// (1800) for each to do its part of a step.
struct Patience {
  std::chrono::seconds joining;
  std::chrono::seconds working;

  /// Throws ConfigError if a variable is not a valid number.
  static Patience of_environment();
};

/// One of several processes. They exchange strings through a key-value store kept by rank 0 (or by the launcher), and
/// tensors directly (process_group.h), connecting when the first tensor is exchanged. Each process updates a counter in
/// the store once a second, so that the others know whether it is alive.
class JoinedWorld final : public World {
 public:
  /// Waits until all have started. Throws ProcessLost if they do not, or do not fit together.
  /// @param is_cancelled  called now and then
  JoinedWorld(ProcessPlace place, Patience patience, std::function<bool()> is_cancelled);
  ~JoinedWorld() override;

  int rank() const override { return place_.rank; }
  int size() const override { return place_.size; }
  std::string whose(int rank) const override;
  std::int64_t threads(std::int64_t asked) const override;
  std::string use_device(c10::Device device) override;
  bool queues_exchanges() const override { return device_group_ != nullptr; }
  void finish(const std::function<bool()>& is_done = {}) override;
  bool any(bool own) override;
  void sum(const at::Tensor& tensor) override;
  void begin_sum(const at::Tensor& tensor) override;
  void end_sums() override;
  at::Tensor gather(const at::Tensor& own) override;
  at::Tensor gather_with_gradient(const at::Tensor& own) override;
  void take_from_first(const at::Tensor& tensor) override;
  void give_to_first(const at::Tensor& tensor, int from) override;
  void exchange(const at::Tensor& flat, const std::vector<FlatRange>& ranges) override;
  std::string take_from_first(const std::string& words) override;
  std::vector<std::string> gather(const std::string& words) override;
  void on_first(const std::function<void()>& work, const Help& help = {}) override;

  /// "rank 1 on node7 (process 123)".
  std::string name(int rank) const;

  /// Tells the others that this process has failed. Returns whether this process is the one to tell the user.
  bool claims(const std::string& problem);

  /// Tells the others that they need not wait for this process. The process that keeps the store waits for them a
  /// while.
  void leave(bool has_failed);

 private:
  class GatherRows;
  using Clock = std::chrono::steady_clock;

  void meet();
  void find_sharers();
  void await(const std::vector<std::string>& keys, std::optional<std::chrono::seconds> limit);
  std::vector<std::string> values_of(const std::vector<std::string>& keys, std::chrono::seconds limit);
  std::vector<std::int64_t> pulses();
  void require_pulses();
  [[noreturn]] void lose(const std::string& reason, bool is_late);
  [[noreturn]] void lose_store(const std::string& reason);
  template <class Work>
  auto in_store(Work work) -> decltype(work());
  void in_group(const std::function<void()>& work);
  void begin_sum_now(const at::Tensor& tensor);
  at::Tensor as_bytes(const at::Tensor& tensor);
  void end_groups();

  ProcessPlace place_;
  Patience patience_;
  std::function<bool()> is_cancelled_;
  c10::intrusive_ptr<c10d::Store> store_;
  std::unique_ptr<ProcessGroup> group_;
  std::unique_ptr<NcclGroup> device_group_;  ///< for tensors on GPUs; null: they are copied to the CPU
  bool has_ended_ = false;                   ///< no more tensors are exchanged
  bool is_broken_off_ = false;               ///< an exchange on the device was ended before it was done
  std::unique_ptr<Pulse> pulse_;
  std::vector<std::string> names_;  ///< "rank 1 on node7 (process 123)", by rank
  std::int64_t sharers_ = 1;        ///< processes of this machine that share its CPUs, itself included
  bool is_stranger_ = false;        ///< the others do not expect a process of its rank: it has joined a different run
  std::set<int> gone_;              ///< the ranks found silent
  struct LastPulse {
    std::int64_t count = -1;
    Clock::time_point seen;
  };
  std::vector<LastPulse> last_pulses_;          ///< by rank
  std::int64_t exchanges_ = 0;                  ///< of strings, so far
  std::optional<Clock::time_point> first_sum_;  ///< when the first of the sums that have not ended began
  std::vector<at::Tensor> late_sums_;           ///< that begin in `end_sums`
  bool sums_are_late_ = false;                  ///< the backward pass exchanges something itself
};

/// Whether, on its machine, this process is the one to tell the user when it cannot reach the others.
bool speaks_alone(const ProcessPlace& place);

}  // namespace casdm
