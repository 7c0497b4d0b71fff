#pragma once

namespace casdm {

/// Values of FoundPlugin::origin: the place of the search path where a library was found.
inline constexpr const char* kCommandOrigin = "--plugin";
inline constexpr const char* kConfigOrigin = "[plugins] paths";
inline constexpr const char* kEnvironmentOrigin = "CASDM_PLUGIN_PATH";
inline constexpr const char* kInstalledOrigin = "the installed folder";

}  // namespace casdm
