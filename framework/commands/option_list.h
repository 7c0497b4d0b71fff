#pragma once

#include <string>

#include "casdm/options.h"

namespace casdm {

/// The options of a component for a person at a terminal: for each a line with name and documentation, then what it
/// takes, its default and examples. Nested keys are written as in the experiment file: "weights.eps", "parts.N.weight".
/// @param width  of the lines, in characters; long words and names may exceed it
std::string option_list(const OptionSchema& options, std::size_t width);

/// The width of the terminal that stdout is, at most 120; 100 when stdout is not a terminal.
std::size_t terminal_width();

}  // namespace casdm
