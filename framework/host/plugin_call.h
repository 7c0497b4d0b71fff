#pragma once

#include <exception>
#include <string>
#include <utility>

#include "casdm/error.h"
#include "casdm/options.h"

namespace casdm {

/// "file:line:column: key: plugin/component: ", as much of it as is known.
std::string place_of(const ComponentConfig& component);

/// `call()`, code of the plugin that owns `component`. What it throws becomes a PluginError that
/// says where the component stands in the experiment; the host's own errors pass as they are.
template <class Call>
auto call_plugin(const ComponentConfig& component, Call&& call) {
  try {
    return std::forward<Call>(call)();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw PluginError(place_of(component) + "failed: " + error.what());
  }
}

}  // namespace casdm
