#pragma once

#include <filesystem>
#include <string>

namespace casdm {

/// The LibTorch that this process has actually loaded, whatever it was built with.
struct LoadedLibTorch {
  std::string version;         ///< "2.11.0"
  std::filesystem::path path;  ///< of libtorch_cpu.so
};

LoadedLibTorch loaded_libtorch();

}  // namespace casdm

/// Called by the program before any command of libcasdm_framework.so. Returns what is wrong with the LibTorch that was
/// loaded with it, as a string that stays valid; null if its major.minor is the one this casdm was built with.
extern "C" const char* casdm_libtorch_difference();
