#pragma once

namespace casdm {

/// From now on SIGINT and SIGTERM ask for an orderly end; a second one ends the process at once.
void catch_signals();

/// Whether one came.
bool interrupted();

}  // namespace casdm
