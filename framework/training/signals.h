#pragma once

namespace casdm {

/// From now on SIGINT, SIGTERM, SIGHUP (unless it is already ignored, as by nohup) and SIGUSR1 ask for an orderly end;
/// a second SIGINT or SIGTERM ends the process at once. SIGPIPE is ignored: failures to write are reported where they
/// occur.
void catch_signals();

/// Whether one of these signals was received.
bool interrupted();

/// The first of these signals that was received; 0: none.
int interrupting_signal();

}  // namespace casdm
