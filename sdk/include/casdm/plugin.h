#pragma once

#include <cstdint>

#include "casdm/plugin_registrar.h"
#include "casdm/stamp.h"

extern "C" {

/// What the one exported function returns. C types only: the host reads `stamp` before it calls
/// anything whose ABI could differ. Fields are only ever appended.
struct casdm_plugin {
  std::uint32_t size;    ///< sizeof(casdm_plugin)
  std::uint32_t layout;  ///< CASDM_PLUGIN_LAYOUT
  const char* stamp;     ///< lines "field=value"; see stamp.h
  const char* id;
  const char* version;
  void (*register_components)(void* registrar);  ///< a casdm::PluginRegistrar*
};
}

#define CASDM_PLUGIN_LAYOUT 1

/// Defines the entry of a plugin library; the block that follows registers its components.
///
///     CASDM_PLUGIN(plugin) {
///       plugin.describe({.summary = "Samplers of the DDPM family", .licence = "Apache-2.0"});
///       plugin.add<DdimSampler>("ddim", "Song et al. 2021, equation 12.");
///     }
///
/// A component class names its options (`using Options = DdimOptions;`), derives from one of the
/// interfaces and has a constructor (const Options&, const Interface::Spec&).
#define CASDM_PLUGIN(registrar)                                                                \
  static void casdm_register_components(::casdm::PluginRegistrar& registrar);                  \
  extern "C" __attribute__((visibility("default"))) const casdm_plugin* casdm_plugin_entry() { \
    static const casdm_plugin entry = {sizeof(casdm_plugin),                                   \
                                       CASDM_PLUGIN_LAYOUT,                                    \
                                       CASDM_STAMP,                                            \
                                       CASDM_PLUGIN_ID,                                        \
                                       CASDM_PLUGIN_VERSION,                                   \
                                       [](void* target) { casdm_register_components(*static_cast<::casdm::PluginRegistrar*>(target)); }};                                  \
    return &entry;                                                                             \
  }                                                                                            \
  static void casdm_register_components(::casdm::PluginRegistrar& registrar)
