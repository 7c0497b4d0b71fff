#include "framework/loading/plugin_call.h"

#include <cxxabi.h>

#include <cstdlib>
#include <memory>
#include <mutex>
#include <set>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/loading/crash_message.h"
#include "framework/loading/global_state.h"
#include "framework/support/exception_message.h"

namespace casdm {

namespace {

thread_local std::string t_time;

/// What already says whose it is.
struct Attributed {
  virtual ~Attributed() = default;
};

template <class E>
class AttributedError final : public E, public Attributed {
 public:
  using E::E;
};

/// @param prefix   "metrics.0: PLUGIN/NAME: "; empty when `failure` says whose code ran
/// @param failure  "failed"
[[noreturn]] void throw_with(const std::string& prefix, const std::string& failure) {
  const std::string at = t_time.empty() ? "" : "at " + t_time;
  const std::string foreign = prefix + failure + (at.empty() ? "" : " " + at) + ": ";
  const std::string own = prefix.empty() ? foreign : prefix + (at.empty() ? "" : at + ": ");
  try {
    throw;
  } catch (const Attributed&) {
    throw;
  } catch (const ConfigError& error) {
    throw AttributedError<ConfigError>(own + error.what());
  } catch (const PluginError& error) {
    throw AttributedError<PluginError>(own + error.what());
  } catch (const Error& error) {
    throw AttributedError<Error>(own + error.what());
  } catch (const std::exception& error) {
    if (is_out_of_memory(error)) throw;
    throw AttributedError<PluginError>(foreign + exception_message(error));
  } catch (...) {
    throw AttributedError<PluginError>(foreign + "it threw " + current_exception_type());
  }
}

}  // namespace

std::string error_prefix(const ComponentConfig& component) {
  const Location& location = component.table.location();
  const std::string file = to_string(location);
  return text(file, file.empty() ? "" : ": ", location.key, location.key.empty() ? "" : ": ", component.type,
              component.type.empty() ? "" : ": ");
}

std::string current_exception_type() {
  const std::type_info* type = abi::__cxa_current_exception_type();
  if (type == nullptr) return "something of an unknown type";
  const std::unique_ptr<char, void (*)(void*)> name(abi::__cxa_demangle(type->name(), nullptr, nullptr, nullptr),
                                                    std::free);
  return text("a '", name ? name.get() : type->name(), "', which is no std::exception");
}

CallTime::CallTime(std::string time) : previous_(std::exchange(t_time, std::move(time))) {}

CallTime::~CallTime() { t_time = std::move(previous_); }

void throw_attributed(const ComponentConfig& component, const char* failure) {
  throw_with(error_prefix(component), failure);
}

void throw_attributed(const std::string& what, const std::vector<ComponentConfig>& components) {
  std::vector<std::string> names;
  for (const ComponentConfig& component : components) {
    const std::string prefix = error_prefix(component);
    names.push_back(prefix.substr(0, prefix.find_last_not_of(": ") + 1));
  }
  throw_with("", text(what, ", which runs code of ", join(names, " and of "), ", failed"));
}

RunningComponent::RunningComponent(const char* label) : previous_(set_running(label)) {
  if (previous_ != label) begin_watch();
}

RunningComponent::~RunningComponent() {
  const char* label = set_running(previous_);
  if (previous_ != label) end_watch(label);
}

const char* immortal(const std::string& text) {
  static std::mutex mutex;
  static auto& texts = *new std::set<std::string>;
  const std::lock_guard lock(mutex);
  return texts.insert(text).first->c_str();
}

}  // namespace casdm
