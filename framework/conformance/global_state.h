#pragma once

#include <map>
#include <string>

namespace casdm::conformance {

/// What holds for the whole process or thread, one line each: {"the umask", "022"}.
using Facts = std::map<std::string, std::string>;

/// Settings of the process, of the calling thread and of LibTorch: locale, signals, rounding, default dtype,
/// generator... A component leaves each as it finds it, whatever the host calls.
Facts settings();

/// What can be left open or running: descriptors, threads. A component has given all back when it is destroyed.
Facts resources();

/// "the umask from 022 to 077; ...", at most three; empty when nothing differs.
std::string changes(const Facts& before, const Facts& after);

}  // namespace casdm::conformance
