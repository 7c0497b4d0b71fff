#pragma once

#include <string>
#include <vector>

namespace casdm {

/// Runs the command `symbol` of libcasdm_framework.so, which loads LibTorch; only the commands that compute do this, so
/// the others start at once. Returns the exit status. Throws Error if the library cannot be loaded.
int run_in_framework(const char* symbol, const std::vector<std::string>& arguments);

}  // namespace casdm
