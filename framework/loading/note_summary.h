#pragma once

#include <string_view>

#include "casdm/plugin_description.h"

namespace casdm {

/// description_from_json with `options` of every component empty. They are most of a note and are
/// passed over without being read, so that a listing of many plugins is done at once; whether they
/// are sound is found where they are needed. Throws PluginError when the rest is not such a description.
PluginDescription summary_from_json(std::string_view json);

}  // namespace casdm
