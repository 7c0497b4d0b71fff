#include "casdm/error.h"

#include "casdm/plugin.h"

namespace casdm {

Error::~Error() = default;
ConfigError::~ConfigError() = default;
PluginError::~PluginError() = default;
PluginRegistrar::~PluginRegistrar() = default;

}  // namespace casdm
