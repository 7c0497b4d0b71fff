#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "casdm/error.h"
#include "framework/loading/plugin_call.h"

namespace casdm {

/// A component of the experiment: the plugin's object, and its location in the experiment file. `call` is the only way
/// from the host into a plugin:
///
///     sampler.call(&Sampler::start);
///     const Tensor x = sampler.call(&Sampler::step, input);
///     const auto plan = sampler.call([](Sampler& s) { return s.plan(); });
///
/// Whatever the plugin throws leaves `call` prefixed with file, line, key, plugin and component, and with the thread's
/// CallTime. If the call, or the destruction of the object, crashes, the crash message names the component. Copies
/// share the object.
template <class K>
class Component {
 public:
  /// No component; converts to false.
  Component() = default;

  /// @param config  its location; empty for a component made in a test
  template <std::derived_from<K> T>
  Component(std::shared_ptr<T> object, ComponentConfig config = {})
      : config_(std::make_shared<const ComponentConfig>(std::move(config))), label_(immortal(config_->type)) {
    K* plain = object.get();
    object_ = std::shared_ptr<K>(plain, [object = std::move(object), label = label_](K*) mutable {
      const RunningComponent running(label);
      object.reset();
    });
  }

  explicit operator bool() const { return object_ != nullptr; }
  const ComponentConfig& config() const { return *config_; }

  /// Calls `function(object, arguments...)`: a member function of K, or anything that takes a K&.
  template <class Function, class... Arguments>
  decltype(auto) call(Function&& function, Arguments&&... arguments) const {
    const RunningComponent running(label_, config_.get());
    try {
      return std::invoke(std::forward<Function>(function), *object_, std::forward<Arguments>(arguments)...);
    } catch (...) {
      throw_attributed(*config_, "failed");
    }
  }

  /// Throws PluginError: the component returned something that violates its contract, as `message` says.
  [[noreturn]] void fail(const std::string& message) const {
    try {
      throw PluginError(message);
    } catch (...) {
      throw_attributed(*config_, "failed");
    }
  }

  /// The object, to be passed in the Spec of another component.
  const std::shared_ptr<K>& object() const { return object_; }

 private:
  std::shared_ptr<const ComponentConfig> config_;
  const char* label_ = nullptr;
  std::shared_ptr<K> object_;
};

}  // namespace casdm
