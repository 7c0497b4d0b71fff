#pragma once

#include <filesystem>
#include <string>

namespace casdm {

/// Why code from the canonical `path` cannot be trusted; empty if only root and the user can change it: the file and
/// every folder above it belong to one of the two, and nobody else may write to them. A folder with the sticky bit,
/// such as /tmp, may be writable for others, since they cannot replace files that are not theirs.
std::string distrust(const std::filesystem::path& path);

/// Libraries that an experiment brings through `[plugins] paths` may come from anywhere, like the experiment. Their
/// code runs only if the user has allowed the file, by naming it on a command line or with `--trust-plugins`. Its path
/// and the SHA-256 of its content are remembered in `$XDG_STATE_HOME/casdm/trusted_plugins.json` (or below
/// ~/.local/state): if another file is at the path, whatever build id it claims, the user is asked again.
///
/// Why the library at this path must not run, as the end of a sentence; empty: the user has allowed it. Both functions
/// throw Error if the file cannot be read.
std::string objection_to(const std::filesystem::path& library);
void allow(const std::filesystem::path& library);

/// The environment variable that `--trust-plugins` sets for this run of the program.
inline constexpr const char* kTrustPlugins = "CASDM_TRUST_PLUGINS";

/// Whether it is: neither empty nor 0.
bool trusts_plugins();

}  // namespace casdm
