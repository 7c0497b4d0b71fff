#include "framework/loading/plugin_call.h"

#include <cxxabi.h>

#include <cctype>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <set>
#include <string_view>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/loading/crash_message.h"
#include "framework/loading/global_state.h"
#include "framework/support/attributed_error.h"
#include "framework/support/exception_message.h"
#include "framework/support/one_line.h"

namespace casdm {

namespace {

thread_local std::string t_time;
thread_local const ComponentConfig* t_running_config = nullptr;

/// An exception whose message already names the component.
template <class E>
class AttributedError final : public E, public Attributed {
 public:
  using E::E;
};

std::string prefix_at(const Location& location, const std::string& type) {
  const std::string file = to_string(location);
  return text(file, file.empty() ? "" : ": ", location.key, location.key.empty() ? "" : ": ", type,
              type.empty() ? "" : ": ");
}

bool has_word(std::string_view text, std::string_view word) {
  const auto is_letter = [&](std::size_t i) {
    return i < text.size() && (std::isalnum(static_cast<unsigned char>(text[i])) != 0 || text[i] == '_');
  };
  for (std::size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    if ((at == 0 || !is_letter(at - 1)) && !is_letter(at + word.size())) return true;
  }
  return false;
}

/// The location of the first key of `table` that `message` names and that was set elsewhere than the table; null: none.
const Location* place_of_named(const Value& table, const Location& of_table, std::string_view message) {
  if (!table.is_table()) return nullptr;
  for (const auto& [key, value] : table.as_table()) {
    const Location& place = value.location();
    if (!value.is_table() && !place.file.empty() && place.file != of_table.file && has_word(message, key))
      return &place;
    if (const Location* inside = place_of_named(value, of_table, message)) return inside;
  }
  return nullptr;
}

/// A component's error about its options is reported where they were set: by --set, or in the file of its table.
const Location& place_of(const ComponentConfig& component, std::string_view message) {
  const Location& table = component.table.location();
  const Location* named = place_of_named(component.table, table, message);
  return named != nullptr ? *named : table;
}

/// What a component said, or the beginning of it.
std::string beginning_of(std::string_view message) {
  constexpr std::size_t kMost = 10'000;
  if (message.size() <= kMost) return std::string(message);
  return text(message.substr(0, kMost), "... and ", message.size() - kMost, " more bytes");
}

/// @param component  whose code ran; null if `failure` names it
/// @param failure    "failed"
[[noreturn]] void throw_with(const ComponentConfig* component, const std::string& failure) {
  const std::string at = t_time.empty() ? "" : "at " + t_time;
  const std::string foreign =
      text(component != nullptr ? error_prefix(*component) : "", failure, at.empty() ? "" : " ", at, ": ");
  const auto own = [&](std::string_view message) {
    if (component == nullptr) return foreign + beginning_of(message);
    const Location& place = place_of(*component, message);
    const std::string said_already = prefix_at(place, "");
    if (message.starts_with(said_already)) message.remove_prefix(said_already.size());
    return text(prefix_at(place, component->type), at, at.empty() ? "" : ": ", beginning_of(message));
  };
  try {
    throw;
  } catch (const Attributed&) {
    throw;
  } catch (const ConfigError& error) {
    throw AttributedError<ConfigError>(own(error.what()));
  } catch (const PluginError& error) {
    throw AttributedError<PluginError>(own(error.what()));
  } catch (const OutOfMemory&) {
    throw;
  } catch (const Error& error) {
    throw AttributedError<Error>(own(error.what()));
  } catch (const std::exception& error) {
    const std::string place = component != nullptr ? error_prefix(*component) : "";
    if (is_out_of_memory(error)) {
      if (place.empty()) throw;
      throw OutOfMemory(text(exception_message(error), ", in ", place.substr(0, place.find_last_not_of(": ") + 1)));
    }
    throw AttributedError<PluginError>(foreign + beginning_of(exception_message(error)));
  } catch (...) {
    throw AttributedError<PluginError>(foreign + "it threw " + current_exception_type());
  }
}

}  // namespace

std::string error_prefix(const ComponentConfig& component) {
  return prefix_at(component.table.location(), component.type);
}

std::string current_exception_type() {
  const std::type_info* type = abi::__cxa_current_exception_type();
  if (type == nullptr) return "something of an unknown type";
  const std::unique_ptr<char, void (*)(void*)> name(abi::__cxa_demangle(type->name(), nullptr, nullptr, nullptr),
                                                    std::free);
  return text("a '", name ? name.get() : type->name(), "', which is not a std::exception");
}

CallTime::CallTime(std::string time) : previous_(std::exchange(t_time, std::move(time))) {}

CallTime::~CallTime() { t_time = std::move(previous_); }

void throw_attributed(const ComponentConfig& component, const char* failure) { throw_with(&component, failure); }

void throw_attributed(const std::string& what, const std::vector<ComponentConfig>& components) {
  std::vector<std::string> names;
  for (const ComponentConfig& component : components) {
    const std::string prefix = error_prefix(component);
    names.push_back(prefix.substr(0, prefix.find_last_not_of(": ") + 1));
  }
  throw_with(nullptr, text(what, ", which runs code of ", join(names, " and of "), ", failed"));
}

void throw_in_one_line() {
  try {
    throw;
  } catch (const Attributed&) {
    throw;
  } catch (const ConfigError& error) {
    throw ConfigError(one_line(error.what()));
  } catch (const PluginError& error) {
    throw PluginError(one_line(error.what()));
  } catch (const OutOfMemory&) {
    throw;
  } catch (const Error& error) {
    throw Error(one_line(error.what()));
  } catch (const std::exception& error) {
    if (is_out_of_memory(error)) throw;
    throw std::runtime_error(one_line(exception_message(error)));
  }
}

RunningComponent::RunningComponent(const char* label, const ComponentConfig* config)
    : previous_(set_running(label)), previous_config_(std::exchange(t_running_config, config)) {
  if (previous_ != label) begin_watch();
}

RunningComponent::~RunningComponent() {
  t_running_config = previous_config_;
  const char* label = set_running(previous_);
  if (previous_ != label) end_watch(label);
}

const ComponentConfig* running_component() { return t_running_config; }

const char* immortal(const std::string& text) {
  static std::mutex mutex;
  static auto& texts = *new std::set<std::string>;
  const std::lock_guard lock(mutex);
  return texts.insert(text).first->c_str();
}

}  // namespace casdm
