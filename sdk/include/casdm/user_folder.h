#pragma once

#include <filesystem>
#include <optional>

#include "casdm/api.h"

namespace casdm CASDM_API {

/// casdm's folders of a user, by the XDG base directory specification.
enum class UserFolder {
  data,   ///< $XDG_DATA_HOME/casdm, or ~/.local/share/casdm
  state,  ///< $XDG_STATE_HOME/casdm, or ~/.local/state/casdm
  cache,  ///< $XDG_CACHE_HOME/casdm, or ~/.cache/casdm
};

/// The folder, which need not exist. A relative path in the variable is ignored, as the specification asks; nothing
/// where HOME is missing or relative too.
std::optional<std::filesystem::path> user_folder(UserFolder which);

}  // namespace casdm
