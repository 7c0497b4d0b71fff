#pragma once

#include <string>

namespace casdm {

/// `word` as one word of a POSIX shell's command line, quoted if necessary, so that commands in messages can be copied.
std::string shell_word(const std::string& word);

}  // namespace casdm
