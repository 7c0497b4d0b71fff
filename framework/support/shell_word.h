#pragma once

#include <string>

namespace casdm {

/// `word` as one word of a shell's command line, quoted if necessary, so that commands in messages can be copied: for
/// any shell of POSIX, but as $'...', which bash and zsh read, if a message cannot show it as it is.
std::string shell_word(const std::string& word);

}  // namespace casdm
