#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "framework/loading/component.h"

namespace casdm {

/// Tensors that a component gets and must not change. LibTorch counts changes to a tensor, so checking costs nothing
/// and does not wait for a device.
class Untouched {
 public:
  explicit Untouched(std::vector<at::Tensor> given) : given_(std::move(given)) {
    for (const at::Tensor& tensor : given_) versions_.push_back(version(tensor));
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
      if (version(given_[i]) != versions_[i]) return false;
    }
    return true;
  }

 private:
  static std::int64_t version(const at::Tensor& tensor) { return tensor.defined() ? tensor._version() : 0; }

  std::vector<at::Tensor> given_;
  std::vector<std::int64_t> versions_;
};

}  // namespace casdm
