#pragma once

#include <filesystem>
#include <string>

namespace casdm {

/// Why code from the canonical `path` cannot be trusted; empty when only root and the user can change it: the file and
/// every folder above it belong to one of the two, and nobody else may write them. In a folder with the sticky bit, as
/// /tmp, others may write: they cannot replace what is not theirs.
std::string distrust(const std::filesystem::path& path);

/// Libraries that an experiment brings, by `[plugins] paths`, may come from anywhere, as the experiment may. Their code
/// runs only when the user has allowed the file: by naming it on a command line, or by `--trust-plugins`. Its path and
/// the SHA-256 of its content are remembered in `$XDG_STATE_HOME/casdm/trusted_plugins.json` (or below ~/.local/state):
/// another file at the path, whatever build id it claims, is asked for again.
///
/// Why the library at this path must not run, the end of a sentence; empty: the user has allowed it. Both throw Error
/// when the file cannot be read.
std::string objection_to(const std::filesystem::path& library);
void allow(const std::filesystem::path& library);

/// The environment variable that `--trust-plugins` sets, for this run of the program.
inline constexpr const char* kTrustPlugins = "CASDM_TRUST_PLUGINS";

}  // namespace casdm
