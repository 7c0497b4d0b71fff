#pragma once

#include "casdm/options.h"

namespace casdm {

/// Adds `tensorboard` to the keys of [log]. LogOptions does not hold it: who writes event files reads it.
void declare_tensorboard(OptionSpec& log);

/// `log.tensorboard` of a resolved experiment; false where an earlier version has resolved it.
bool writes_tensorboard(const Value& experiment);

}  // namespace casdm
