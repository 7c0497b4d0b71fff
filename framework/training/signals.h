#pragma once

namespace casdm {

/// From now on SIGINT, SIGTERM, SIGHUP (unless it is ignored already, as by nohup) and SIGUSR1 ask for an orderly end;
/// a second SIGINT or SIGTERM ends the process at once. SIGPIPE and SIGXFSZ are ignored: what cannot be written is
/// reported where it is written.
void catch_signals();

/// Whether one came.
bool interrupted();

}  // namespace casdm
