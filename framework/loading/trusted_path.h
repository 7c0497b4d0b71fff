#pragma once

#include <filesystem>
#include <string>

namespace casdm {

/// Why code from the canonical `path` cannot be trusted; empty when only root and the user can change it: the file and
/// every folder above it belong to one of the two, and nobody else may write them. In a folder with the sticky bit, as
/// /tmp, others may write: they cannot replace what is not theirs.
std::string distrust(const std::filesystem::path& path);

/// Libraries that an experiment brings, by `[plugins] paths`, may come from anywhere, as the experiment may. Their code
/// runs only when the user has allowed the file: by naming it on a command line, or by `--trust-plugins`. The path is
/// remembered in `$XDG_STATE_HOME/casdm/trusted_plugins.json` (or below ~/.local/state).
bool is_allowed(const std::filesystem::path& library);
void allow(const std::filesystem::path& library);

/// The environment variable that `--trust-plugins` sets, for this run of the program.
inline constexpr const char* kTrustPlugins = "CASDM_TRUST_PLUGINS";

}  // namespace casdm
