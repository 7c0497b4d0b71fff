#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "casdm/options.h"

namespace casdm {

/// What one part of an experiment used: a module of the head, a metric, another component, or the host.
struct PartUsage {
  std::string part;
  std::int64_t forward = 0;   ///< multiply-adds
  std::int64_t backward = 0;  ///< multiply-adds, of forward passes that a backward pass repeats, too
  std::int64_t bytes = 0;     ///< at the moment when all parts together used most
};

/// While this object lives, counts what this thread and its backward passes compute and allocate, by part.
///
/// An operator belongs to the component whose call runs. In calls of `shared` components, which run the modules of
/// others, it belongs to the module whose weights were used last; and in a backward pass to the part of the operator
/// that it is the gradient of. Only one meter may live at a time in a thread. It slows every operator by microseconds.
class UsageMeter {
 public:
  /// The part to which each weight belongs, by the address of its storage.
  using Owners = std::unordered_map<const void*, std::string>;

  /// The part that a component is; empty: it is shared.
  using NameOf = std::function<std::string(const ComponentConfig&)>;

  /// @param host  the name of what no component computes
  UsageMeter(Owners owners, NameOf name_of, const std::string& host);
  ~UsageMeter();
  UsageMeter(const UsageMeter&) = delete;
  UsageMeter& operator=(const UsageMeter&) = delete;

  /// In order of first use.
  std::vector<PartUsage> parts() const;

  /// The most bytes that tensors made since the start have used together.
  std::int64_t peak_bytes() const;

 private:
  class Observer;
  std::shared_ptr<Observer> observer_;
  std::uint64_t callback_ = 0;
};

}  // namespace casdm
