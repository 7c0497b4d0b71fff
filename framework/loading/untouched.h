#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "framework/loading/component.h"

namespace casdm {

/// Tensors that a component gets and must not change. LibTorch counts changes to a tensor, except those by `data()`:
/// these are found by comparing the bytes, on the CPU alone, since a device would have to be waited for.
class Untouched {
 public:
  enum class Compared { versions, bytes, bytes_if_small };

  /// @param compared  versions: changes that LibTorch counts, without a copy; for tensors that are large or long-lived.
  ///                  bytes_if_small: this for large ones alone
  explicit Untouched(std::vector<at::Tensor> given, Compared compared = Compared::bytes) : given_(std::move(given)) {
    for (const at::Tensor& tensor : given_) {
      versions_.push_back(version(tensor));
      const bool is_compared = compared == Compared::bytes ||
                               (compared == Compared::bytes_if_small && tensor.defined() && tensor.numel() <= kSmall);
      const bool is_copied = is_compared && tensor.defined() && tensor.is_cpu();
      copies_.push_back(is_copied ? tensor.detach().clone(at::MemoryFormat::Contiguous) : at::Tensor());
    }
  }

  /// Throws PluginError if one has changed.
  /// @param what  what the tensors are: "the images"
  template <class K>
  void check(const Component<K>& component, const std::string& what) const {
    if (is_untouched()) return;
    component.fail("it changed " + what + " that it was given, which others use, too; make a new tensor instead");
  }

  bool is_untouched() const {
    for (std::size_t i = 0; i < given_.size(); ++i) {
      if (version(given_[i]) != versions_[i] || !holds(given_[i], copies_[i])) return false;
    }
    return true;
  }

 private:
  static constexpr std::int64_t kSmall = 4096;

  static std::int64_t version(const at::Tensor& tensor) { return tensor.defined() ? tensor._version() : 0; }

  /// Also where they are NaN. An undefined copy is not compared.
  static bool holds(const at::Tensor& tensor, const at::Tensor& copy) {
    if (!copy.defined()) return true;
    const at::Tensor now = tensor.detach().contiguous();
    return now.nbytes() == copy.nbytes() && std::memcmp(now.const_data_ptr(), copy.const_data_ptr(), now.nbytes()) == 0;
  }

  std::vector<at::Tensor> given_;
  std::vector<std::int64_t> versions_;
  std::vector<at::Tensor> copies_;
};

/// @param named  pairs of a name and a tensor
template <class Named>
std::vector<at::Tensor> handles_in(const Named& named) {
  std::vector<at::Tensor> tensors;
  for (const auto& [name, tensor] : named) tensors.push_back(tensor);
  return tensors;
}

/// What a metric without state, and a feature extractor, must not do.
inline constexpr const char* kNoState =
    "it changed its buffers, but its info() has no has_state: they would not be in checkpoints, and a resumed run "
    "would "
    "differ";
inline constexpr const char* kNoMemory =
    "it changed its buffers: features would depend on the images that it has seen before";

/// What `work` returns. Throws PluginError with `why` if it has changed the component's buffers.
template <class K, class Work>
auto with_constant_buffers(const Component<K>& component, const char* why, const Work& work) {
  std::vector<at::Tensor> buffers;
  for (const auto& [name, buffer] : component.call(&K::buffers)) buffers.push_back(buffer);
  const Untouched constants(std::move(buffers), Untouched::Compared::versions);
  auto result = work();
  if (!constants.is_untouched()) component.fail(why);
  return result;
}

}  // namespace casdm
