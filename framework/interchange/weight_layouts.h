#pragma once

#include <optional>
#include <string>
#include <vector>

#include "casdm/weight_layout.h"
#include "framework/loading/plugin_host.h"

namespace casdm {

/// A weight layout found in the plugins.
struct FoundLayout {
  std::string type;      ///< "plugin/component"
  std::string backbone;  ///< "plugin/component"
  WeightLayoutInfo info;
  Component<WeightLayout> layout;  ///< with its options at their defaults
};

/// All layouts, or those of one backbone, by name. Layouts that cannot be created, or whose files do not have plain
/// names, are left out with a warning on stderr.
/// @param backbone    "plugin/component"; empty: any
/// @param image_size  of the networks in pixels; 0: unknown
std::vector<FoundLayout> weight_layouts(const PluginHost& host, const std::string& backbone, std::int64_t image_size);

/// Whether and how well `weights` match; without value if the layout fails at them, after a warning on stderr.
std::optional<LayoutMatch> recognised(const FoundLayout& found, const ForeignWeights& weights);

/// What the layout reads from `weights`. Throws PluginError if it returns no tensors, tensors that no file can hold, or
/// options that are no table.
BackboneWeights read_by(const Component<WeightLayout>& layout, const ForeignWeights& weights);

/// What the layout writes for `weights`, checked in the same way.
ForeignWeights written_by(const Component<WeightLayout>& layout, const BackboneWeights& weights);

/// The native layout of `backbone`, or null.
const FoundLayout* native_layout(const std::vector<FoundLayout>& layouts, const std::string& backbone);

/// Throws ConfigError if weights trained with the options `recorded` belong to a network other than the one that the
/// table `options`, at `where`, makes of the same tensors. The backbone's native layout says which options matter and
/// which of them mean the same; for a backbone without one, the options that both have are compared.
/// @param recorded  all options of the network that `source` belongs to, or those that are known
void check_unseen_options(const FoundLayout* native, const NamedTensors& tensors, const Value& recorded,
                          const Value& options, std::int64_t image_size, const std::string& source,
                          const std::string& where);

/// The layout `type` with the options set by `overrides` ("attention=new"). Throws ConfigError if it has no such
/// option.
Component<WeightLayout> configured_layout(const PluginHost& host, const std::string& type,
                                          const std::vector<std::string>& overrides, std::int64_t image_size);

}  // namespace casdm
