#include "casdm/error.h"

#include "casdm/plugin_registrar.h"

namespace casdm {

Error::~Error() = default;
ConfigError::~ConfigError() = default;
PluginError::~PluginError() = default;
PluginRegistrar::~PluginRegistrar() = default;

}  // namespace casdm
