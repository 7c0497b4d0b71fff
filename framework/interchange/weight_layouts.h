#pragma once

#include <string>
#include <vector>

#include "casdm/weight_layout.h"
#include "framework/loading/plugin_host.h"

namespace casdm {

/// A weight layout of the plugins found.
struct FoundLayout {
  std::string type;      ///< "plugin/component"
  std::string backbone;  ///< "plugin/component"
  WeightLayoutInfo info;
  Component<WeightLayout> layout;  ///< with its options at their defaults
};

/// All layouts, or those of one backbone, by name. One that cannot be made, or whose files have no plain names, is left
/// out with a warning on stderr.
/// @param backbone    "plugin/component"; empty: any
/// @param image_size  of the networks in pixels; 0: unknown
std::vector<FoundLayout> weight_layouts(const PluginHost& host, const std::string& backbone, std::int64_t image_size);

/// The native layout of `backbone`, or null.
const FoundLayout* native_layout(const std::vector<FoundLayout>& layouts, const std::string& backbone);

/// The layout `type` with the options that `overrides` ("attention=new") set. Throws ConfigError when it has no such
/// option.
Component<WeightLayout> configured_layout(const PluginHost& host, const std::string& type,
                                          const std::vector<std::string>& overrides, std::int64_t image_size);

}  // namespace casdm
