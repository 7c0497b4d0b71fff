#pragma once

#include <map>
#include <string>

namespace casdm::conformance {

/// State of the whole process or of a thread, one line each: {"the umask", "022"}.
using Facts = std::map<std::string, std::string>;

/// Settings of the process, of the calling thread and of LibTorch: locale, signals, rounding, default dtype,
/// generator... A component must leave each of them as it was, whatever the host calls.
Facts settings();

/// What can be left open or running: descriptors, threads. A component must have released all of it when it is
/// destroyed.
Facts resources();

/// "the umask from 022 to 077; ...", at most three; empty if nothing differs.
std::string changes(const Facts& before, const Facts& after);

}  // namespace casdm::conformance
