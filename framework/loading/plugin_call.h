#pragma once

#include <string>
#include <utility>
#include <vector>

#include "casdm/options.h"

namespace casdm {

/// "file:line:column: key: plugin/component: ", as much of it as is known.
std::string error_prefix(const ComponentConfig& component);

/// In a `catch (...)`: the type of what was thrown, "an int" or "a 'their::Oops'", which is not a std::exception.
std::string current_exception_type();

/// While it lives, errors of the plugins that this thread calls say when it happened: "step 12, t 3 to 977".
class CallTime {
 public:
  explicit CallTime(std::string time);
  ~CallTime();
  CallTime(const CallTime&) = delete;
  CallTime& operator=(const CallTime&) = delete;

 private:
  std::string previous_;
};

/// In a `catch (...)` around code of the plugin that owns `component`: throws what was caught again, with the place of
/// the component in the experiment and the CallTime in front. ConfigError and Error stay what they are; everything
/// else becomes a PluginError. What was thrown by this function before, for a component inside, passes as it is, and so
/// does memory that ran out.
/// @param failure  "failed", "could not be made"
[[noreturn]] void throw_attributed(const ComponentConfig& component, const char* failure);

/// The same around code of several plugins, such as a backward pass, when nobody knows whose failed.
/// @param what  "the backward pass"
[[noreturn]] void throw_attributed(const std::string& what, const std::vector<ComponentConfig>& components);

/// Names the component whose code this thread runs while it lives, for the message of a crash (crash_message.h), and
/// watches global state (global_state.h) from the outermost call of a component to its end.
class RunningComponent {
 public:
  /// @param label  `immortal`
  explicit RunningComponent(const char* label);
  ~RunningComponent();
  RunningComponent(const RunningComponent&) = delete;
  RunningComponent& operator=(const RunningComponent&) = delete;

 private:
  const char* previous_;
};

/// `text`, kept until the process ends.
const char* immortal(const std::string& text);

/// `call()`, code of the plugin that owns `component`, for an object that came without its Component (component.h).
template <class Call>
decltype(auto) call_plugin(const ComponentConfig& component, Call&& call) {
  const RunningComponent running(immortal(component.type));
  try {
    return std::forward<Call>(call)();
  } catch (...) {
    throw_attributed(component, "failed");
  }
}

}  // namespace casdm
