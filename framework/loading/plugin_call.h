#pragma once

#include <exception>
#include <string>
#include <utility>

#include "casdm/error.h"
#include "casdm/options.h"
#include "framework/support/exception_message.h"

namespace casdm {

/// "file:line:column: key: plugin/component: ", as much of it as is known.
std::string place_of(const ComponentConfig& component);

/// In a `catch (...)`: the type of what was thrown, "an int" or "a 'their::Oops'", which is no std::exception.
std::string current_exception_type();

/// Names the component whose code runs while this lives, for the message of a crash (crash_message.h).
class RunningComponent {
 public:
  explicit RunningComponent(const ComponentConfig& component);
  ~RunningComponent();
  RunningComponent(const RunningComponent&) = delete;
  RunningComponent& operator=(const RunningComponent&) = delete;

 private:
  const char* previous_;
};

/// `call()`, code of the plugin that owns `component`. What it throws becomes a PluginError that
/// says where the component stands in the experiment; the host's own errors pass as they are.
template <class Call>
auto call_plugin(const ComponentConfig& component, Call&& call) {
  const RunningComponent running(component);
  try {
    return std::forward<Call>(call)();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw PluginError(place_of(component) + "failed: " + exception_message(error));
  } catch (...) {
    throw PluginError(place_of(component) + "failed: it threw " + current_exception_type());
  }
}

}  // namespace casdm
