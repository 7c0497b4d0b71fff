#pragma once

#include <string>

#include "casdm/options.h"

namespace casdm {

/// The options of a component, for a person at a terminal: for each, a line with its name and documentation, then its
/// allowed values, default and examples. Nested keys are written as in the experiment file: "weights.eps",
/// "parts.N.weight".
/// @param width  of a line in characters; long words and names may exceed it
std::string option_list(const OptionSchema& options, std::size_t width);

/// The width of the terminal, at most 120; 100 if stdout is not a terminal.
std::size_t terminal_width();

}  // namespace casdm
