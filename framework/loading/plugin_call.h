#pragma once

#include <string>
#include <utility>
#include <vector>

#include "casdm/options.h"

namespace casdm {

/// "file:line:column: key: plugin/component: ", as much of it as is known.
std::string error_prefix(const ComponentConfig& component);

/// To be called in `catch (...)`: the type of an exception that is not a std::exception: "an int" or "a 'their::Oops'".
std::string current_exception_type();

/// While this object lives, errors of plugins that this thread calls say when they occurred: "step 12, t 3 to 977".
class CallTime {
 public:
  explicit CallTime(std::string time);
  ~CallTime();
  CallTime(const CallTime&) = delete;
  CallTime& operator=(const CallTime&) = delete;

 private:
  std::string previous_;
};

/// To be called in `catch (...)` around code of the plugin that owns `component`: rethrows what was caught, prefixed
/// with the component's location in the experiment and the CallTime. ConfigError and Error keep their type; everything
/// else becomes a PluginError, but exhausted memory an OutOfMemory that names the component at its end. `Attributed`
/// ones pass unchanged: those that this function has already thrown, for a component inside, and the loss of a process.
/// @param failure  "failed", "could not be made"
[[noreturn]] void throw_attributed(const ComponentConfig& component, const char* failure);

/// The same around code of several plugins, such as a backward pass, if it is unknown which of them failed.
/// @param what  "the backward pass"
[[noreturn]] void throw_attributed(const std::string& what, const std::vector<ComponentConfig>& components);

/// To be called in `catch (...)`: throws the same with line breaks of the message escaped; exhausted memory and what is
/// no std::exception as it is.
[[noreturn]] void throw_in_one_line();

/// While this object lives, the given component counts as running on this thread, for the message of a crash
/// (crash_message.h); the outermost one also watches global state (global_state.h).
class RunningComponent {
 public:
  /// @param label   a string from `immortal`
  /// @param config  for `running_component`; null: unknown
  explicit RunningComponent(const char* label, const ComponentConfig* config = nullptr);
  ~RunningComponent();
  RunningComponent(const RunningComponent&) = delete;
  RunningComponent& operator=(const RunningComponent&) = delete;

 private:
  const char* previous_;
  const ComponentConfig* previous_config_;
};

/// The component that this thread is running, the innermost one; null: the host's own code, or a component being
/// created or destroyed.
const ComponentConfig* running_component();

/// A copy of `text` that is kept until the process ends.
const char* immortal(const std::string& text);

/// Runs `call()`, code of the plugin that owns `component`, for an object that is not held by a Component
/// (component.h).
template <class Call>
decltype(auto) call_plugin(const ComponentConfig& component, Call&& call) {
  const RunningComponent running(immortal(component.type), &component);
  try {
    return std::forward<Call>(call)();
  } catch (...) {
    throw_attributed(component, "failed");
  }
}

}  // namespace casdm
