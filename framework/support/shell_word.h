#pragma once

#include <string>

namespace casdm {

/// `word` as one word of a command line for a POSIX shell, quoted where it must be: commands in messages can be copied.
std::string shell_word(const std::string& word);

}  // namespace casdm
