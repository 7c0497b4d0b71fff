#pragma once

#include <string>
#include <vector>

namespace casdm {

/// Runs the command `symbol` of libcasdm_framework.so, which loads LibTorch; only the commands that compute do this, so
/// the others start at once. Returns the exit status. Throws Error if the library cannot be loaded.
int run_in_framework(const char* symbol, const std::vector<std::string>& arguments);

/// When this process exits, it destroys the static objects that were created after this call, such as those of plugins,
/// and then ends at once. Objects that were there before are not destroyed: LibTorch's tables of operators alone would
/// take 0.07 s. With a sanitizer, which reports last, this does nothing.
void end_without_libtorch();

}  // namespace casdm
