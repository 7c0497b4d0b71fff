#pragma once

#include <torch/headeronly/version.h>

#include "casdm/build_info.h"

/// The binary facts that plugin and host must share, as lines "field=value". C++ classes cross
/// the boundary between them, so a difference is undefined behaviour, not an inconvenience.
/// Filled by the preprocessor and casdm_add_plugin alone, never by the author.
#define CASDM_STRING_OF(x) #x
#define CASDM_STRING(x) CASDM_STRING_OF(x)

#define CASDM_STAMP                                                                                                    \
  "sdk_version=" CASDM_SDK_VERSION "\nsdk_headers=" CASDM_SDK_HEADERS "\nlibtorch=" TORCH_VERSION                      \
  "\ncxx11_abi=" CASDM_STRING(_GLIBCXX_USE_CXX11_ABI) "\ncompiler=" CASDM_COMPILER "\nstdlib=libstdc++ " CASDM_STRING( \
      _GLIBCXX_RELEASE) "\ncxx_standard=" CASDM_STRING(__cplusplus) "\ncuda=" CASDM_CUDA_VERSION                       \
                                                                    "\ncuda_architectures=" CASDM_CUDA_ARCHITECTURES   \
                                                                    "\nbuild_type=" CASDM_BUILD_TYPE                   \
                                                                    "\nmachine=" CASDM_MACHINE "\n"

#ifdef __clang__
#define CASDM_COMPILER "clang " CASDM_STRING(__clang_major__) "." CASDM_STRING(__clang_minor__)
#else
#define CASDM_COMPILER "gcc " CASDM_STRING(__GNUC__) "." CASDM_STRING(__GNUC_MINOR__)
#endif

#if defined(__x86_64__)
#define CASDM_MACHINE "x86_64"
#elif defined(__aarch64__)
#define CASDM_MACHINE "aarch64"
#else
#define CASDM_MACHINE "unknown"
#endif
