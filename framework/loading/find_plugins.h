#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "framework/loading/plugin_host.h"

namespace casdm {

/// The plugins found for `document`: given by `--plugin`, in its [plugins] paths, and in the usual places. None is
/// loaded yet, and those that its `[[plugins.lock]]` does not allow never will be. Problems with those that the user
/// named are printed to stderr.
/// @param plugin_files  of `--plugin`; throws PluginError if one cannot be used
std::shared_ptr<PluginHost> find_plugins(const Value& document, const std::vector<std::filesystem::path>& plugin_files);

}  // namespace casdm
