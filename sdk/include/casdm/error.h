#pragma once

#include <stdexcept>
#include <string>

#include "casdm/api.h"

namespace casdm CASDM_API {

/// Something failed at run time: a file, a device, a number. The command exits with 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  ~Error() override;
};

/// What the user asked for is wrong: a key, a value, a combination. The command exits with 2.
///
/// Throw it from a component's constructor when options contradict each other or the images
/// ("channels = 48 cannot be split into 32 groups"); the host adds plugin, component and the
/// key path of the table in the experiment file.
class ConfigError : public Error {
 public:
  using Error::Error;
  ~ConfigError() override;
};

/// A plugin cannot be used: it is missing, from another build, or it broke its contract.
/// The command exits with 1.
class PluginError : public Error {
 public:
  using Error::Error;
  ~PluginError() override;
};

}  // namespace casdm
