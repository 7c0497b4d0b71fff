#pragma once

#include <string>

namespace casdm {

/// Throws ConfigError if tables, arrays and dotted keys of the TOML document `toml` are nested so deep that parsing it,
/// or destroying the result, could overflow the stack: far beyond kDeepestNesting. Looks only at keys and brackets and
/// leaves syntax errors to the parser.
void refuse_deep_nesting(const std::string& toml, const std::string& file);

}  // namespace casdm
