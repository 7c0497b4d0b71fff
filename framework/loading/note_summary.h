#pragma once

#include <string_view>

#include "casdm/plugin_description.h"

namespace casdm {

/// Like description_from_json, with the `options` of every component empty. They are most of a note and are skipped
/// without being parsed, so that many plugins can be listed quickly; errors in them are found where they are needed.
/// Throws PluginError if the rest is not a valid description.
PluginDescription summary_from_json(std::string_view json);

}  // namespace casdm
