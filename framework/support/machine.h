#pragma once

#include <cstddef>
#include <string>

namespace casdm {

/// The machine for people: "AMD EPYC 7B13, 2 CPUs, 24 GiB".
std::string machine_description();

/// Its processor: "AMD EPYC 7B13".
std::string processor();

/// The width of the terminal behind a file descriptor in characters; `otherwise` when there is none, or it does not
/// say.
std::size_t terminal_columns(int descriptor, std::size_t otherwise);

}  // namespace casdm
