#pragma once

#include <string>
#include <vector>

namespace casdm {

/// Runs the command `symbol` of libcasdm_framework.so, which brings LibTorch: it is loaded only by
/// the commands that compute, so that the others start at once. Returns the exit status.
/// Throws Error when the library cannot be loaded.
int run_in_framework(const char* symbol, const std::vector<std::string>& arguments);

}  // namespace casdm
