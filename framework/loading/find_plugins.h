#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "framework/loading/plugin_host.h"

namespace casdm {

/// The plugins found for `document`: those of `--plugin`, of its [plugins] paths, and of the usual places. None is
/// loaded, and none that its `[[plugins.lock]]` does not allow ever will be. What is wrong with those that the user
/// named goes to stderr.
/// @param plugin_files  of `--plugin`; throws PluginError when one cannot be used
std::shared_ptr<PluginHost> find_plugins(const Value& document, const std::vector<std::filesystem::path>& plugin_files);

}  // namespace casdm
