#pragma once

namespace casdm {

/// FoundPlugin::origin: which place of the search path a library was found in.
inline constexpr const char* kCommandOrigin = "--plugin";
inline constexpr const char* kConfigOrigin = "[plugins] paths";
inline constexpr const char* kEnvironmentOrigin = "CASDM_PLUGIN_PATH";
inline constexpr const char* kInstalledOrigin = "the installed folder";

}  // namespace casdm
