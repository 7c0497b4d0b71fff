#pragma once

#include "casdm/options.h"

namespace casdm {

/// Adds `tensorboard` to the keys of [log]. LogOptions does not contain it: the code that writes event files reads it
/// itself.
void declare_tensorboard(OptionSpec& log);

/// `log.tensorboard` of a resolved experiment; false if it was resolved by an earlier version.
bool writes_tensorboard(const Value& experiment);

}  // namespace casdm
