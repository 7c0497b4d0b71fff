#pragma once

#include <string>

namespace casdm {

/// Throws ConfigError when tables, arrays and dotted keys of the TOML document `toml` nest so deep that parsing it, or
/// destroying what was parsed, could overflow the stack: far beyond kDeepestNesting. Looks only at keys and brackets;
/// what is not TOML is left to the parser.
void refuse_deep_nesting(const std::string& toml, const std::string& file);

}  // namespace casdm
