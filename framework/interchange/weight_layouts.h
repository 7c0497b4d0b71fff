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

/// Throws ConfigError when weights that were trained with the options `recorded` are of another network than the table
/// `options`, at `where`, makes of the same tensors. The backbone's native layout says which options that takes, and
/// which of them mean the same; of a backbone without one what both have is compared.
/// @param recorded  all options of the network that `source` is of, or those that are known
void check_unseen_options(const FoundLayout* native, const NamedTensors& tensors, const Value& recorded,
                          const Value& options, std::int64_t image_size, const std::string& source,
                          const std::string& where);

/// The layout `type` with the options that `overrides` ("attention=new") set. Throws ConfigError when it has no such
/// option.
Component<WeightLayout> configured_layout(const PluginHost& host, const std::string& type,
                                          const std::vector<std::string>& overrides, std::int64_t image_size);

}  // namespace casdm
