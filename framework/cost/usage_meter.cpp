#include "framework/cost/usage_meter.h"

#include <ATen/SequenceNumber.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/record_function.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <limits>
#include <map>
#include <mutex>
#include <utility>

#include "framework/cost/products.h"
#include "framework/loading/plugin_call.h"

namespace casdm {

namespace {

/// Not a constant in every LibTorch.
c10::DebugInfoKind kind() { return c10::DebugInfoKind::PROFILER_STATE; }

/// What the end of an operator, or of a step of a backward pass, restores.
struct Entered final : at::ObserverContext {
  bool is_counted = false;
  bool is_gradient = false;
  std::size_t owner = 0;
};

}  // namespace

/// Reached from any thread that takes over this one's thread-local state, as a backward pass on a GPU does.
class UsageMeter::Observer final : public c10::MemoryReportingInfoBase {
 public:
  Observer(Owners owners, NameOf name_of, const std::string& host) : name_of_(std::move(name_of)) {
    index_of(host);
    for (const auto& [storage, part] : owners) owners_.emplace(storage, index_of(part));
  }

  static std::unique_ptr<at::ObserverContext> enter(const at::RecordFunction& function) {
    auto* observer = static_cast<Observer*>(c10::ThreadLocalDebugInfo::get(kind()));
    return observer != nullptr ? observer->entered(function) : nullptr;
  }

  static void leave(const at::RecordFunction& /*function*/, at::ObserverContext* context) {
    auto* observer = static_cast<Observer*>(c10::ThreadLocalDebugInfo::get(kind()));
    if (observer != nullptr && context != nullptr) observer->left(*static_cast<const Entered*>(context));
  }

  void reportMemoryUsage(void* ptr, std::int64_t size, std::size_t /*allocated*/, std::size_t /*reserved*/,
                         c10::Device /*device*/) override {
    const std::lock_guard lock(mutex_);
    if (size > 0) {
      const std::size_t part = current();
      blocks_[ptr] = {part, size};
      usage_[part].live += size;
      live_ += size;
      if (live_ <= peak_) return;
      peak_ = live_;
      for (Usage& usage : usage_) usage.at_peak = usage.live;
      return;
    }
    const auto block = blocks_.find(ptr);
    if (block == blocks_.end()) return;  // made before the start
    usage_[block->second.first].live -= block->second.second;
    live_ -= block->second.second;
    blocks_.erase(block);
  }

  bool memoryProfilingEnabled() const override { return true; }

  std::vector<PartUsage> parts() const {
    std::vector<PartUsage> result;
    for (const Usage& usage : usage_) result.push_back({usage.name, usage.forward, usage.backward, usage.at_peak});
    std::erase_if(result, [](const PartUsage& part) { return part.forward + part.backward + part.bytes == 0; });
    return result;
  }

  std::int64_t peak() const { return peak_; }

 private:
  struct Usage {
    std::string name;
    std::int64_t forward = 0;
    std::int64_t backward = 0;
    std::int64_t live = 0;
    std::int64_t at_peak = 0;
  };

  std::size_t index_of(const std::string& part) {
    std::size_t index = 0;
    while (index < usage_.size() && usage_[index].name != part) ++index;
    if (index == usage_.size()) usage_.push_back({.name = part});
    return index;
  }

  /// Whether modules of others run in the current call, or in none: then `owner_` is the current part.
  bool is_shared() { return running_component() == nullptr || part_of(*running_component()).empty(); }

  const std::string& part_of(const ComponentConfig& component) {
    const auto [known, is_new] = names_.try_emplace(&component);
    if (is_new) known->second = name_of_(component);
    return known->second;
  }

  std::size_t current() { return is_shared() ? owner_ : index_of(part_of(*running_component())); }

  std::unique_ptr<at::ObserverContext> entered(const at::RecordFunction& function) {
    const std::lock_guard lock(mutex_);
    auto context = std::make_unique<Entered>();
    context->owner = owner_;
    if (function.scope() == at::RecordScope::BACKWARD_FUNCTION) {
      context->is_gradient = true;
      ++gradients_;
      owner_ = part_at(function.forwardThreadId(), function.seqNr());
      return context;
    }
    if (is_shared()) find_owner(function.inputs());
    const std::size_t part = current();
    if (at::GradMode::is_enabled()) note(function.threadId(), part);
    if (counted_ > 0) return context;  // inside an operator that is counted as a whole
    const std::optional<std::int64_t> products = multiply_adds(function.name(), function.inputs());
    if (!products) return context;
    context->is_counted = true;
    ++counted_;
    (gradients_ > 0 ? usage_[part].backward : usage_[part].forward) += *products;
    return context;
  }

  void left(const Entered& context) {
    const std::lock_guard lock(mutex_);
    if (context.is_counted) --counted_;
    if (!context.is_gradient) return;
    --gradients_;
    owner_ = context.owner;
  }

  void find_owner(c10::ArrayRef<const c10::IValue> inputs) {
    if (running_component() == nullptr && gradients_ == 0) owner_ = 0;
    for (const c10::IValue& input : inputs) {
      if (!input.isTensor() || !input.toTensor().has_storage()) continue;
      const auto found = owners_.find(input.toTensor().storage().data());
      if (found != owners_.end()) owner_ = found->second;
    }
  }

  /// From now on, the nodes that operators of this thread add to the graph belong to `part`.
  void note(std::uint64_t thread, std::size_t part) {
    auto& nodes = nodes_[thread];
    if (nodes.empty() || nodes.back().second != part) nodes.emplace_back(at::sequence_number::peek(), part);
  }

  std::size_t part_at(std::uint64_t thread, std::int64_t node) {
    const auto& nodes = nodes_[thread];
    const auto after =
        std::upper_bound(nodes.begin(), nodes.end(),
                         std::pair(static_cast<std::uint64_t>(node), std::numeric_limits<std::size_t>::max()));
    return after == nodes.begin() ? 0 : (after - 1)->second;
  }

  std::mutex mutex_;
  NameOf name_of_;
  std::map<const ComponentConfig*, std::string> names_;
  std::unordered_map<const void*, std::size_t> owners_;
  std::vector<Usage> usage_;  ///< the host first
  std::unordered_map<void*, std::pair<std::size_t, std::int64_t>> blocks_;
  std::map<std::uint64_t, std::vector<std::pair<std::uint64_t, std::size_t>>> nodes_;
  std::size_t owner_ = 0;
  std::int64_t counted_ = 0;
  std::int64_t gradients_ = 0;
  std::int64_t live_ = 0;
  std::int64_t peak_ = 0;
};

UsageMeter::UsageMeter(Owners owners, NameOf name_of, const std::string& host)
    : observer_(std::make_shared<Observer>(std::move(owners), std::move(name_of), host)) {
  c10::ThreadLocalDebugInfo::_push(kind(), observer_);
  callback_ = at::addThreadLocalCallback(
      at::RecordFunctionCallback(&Observer::enter, &Observer::leave)
          .needsInputs(true)
          .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION, at::RecordScope::USER_SCOPE}));
}

UsageMeter::~UsageMeter() {
  at::removeCallback(callback_);
  c10::ThreadLocalDebugInfo::_pop(kind());
}

std::vector<PartUsage> UsageMeter::parts() const { return observer_->parts(); }

std::int64_t UsageMeter::peak_bytes() const { return observer_->peak(); }

}  // namespace casdm
