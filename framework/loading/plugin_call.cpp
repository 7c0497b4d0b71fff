#include "framework/loading/plugin_call.h"

#include <cxxabi.h>

#include <cstdlib>
#include <memory>

#include "casdm/text.h"
#include "framework/loading/crash_message.h"

namespace casdm {

std::string place_of(const ComponentConfig& component) {
  const Location& location = component.table.location();
  const std::string file = to_string(location);
  return text(file, file.empty() ? "" : ": ", location.key, location.key.empty() ? "" : ": ", component.type, ": ");
}

std::string current_exception_type() {
  const std::type_info* type = abi::__cxa_current_exception_type();
  if (type == nullptr) return "something of an unknown type";
  const std::unique_ptr<char, void (*)(void*)> name(abi::__cxa_demangle(type->name(), nullptr, nullptr, nullptr),
                                                    std::free);
  return text("a '", name ? name.get() : type->name(), "', which is no std::exception");
}

RunningComponent::RunningComponent(const ComponentConfig& component) : previous_(set_running(component.type.c_str())) {}

RunningComponent::~RunningComponent() { set_running(previous_); }

}  // namespace casdm
