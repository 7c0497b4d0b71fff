#include "framework/loading/libtorch.h"

#include <dlfcn.h>
#include <torch/headeronly/version.h>

#include <cstdint>

#include "casdm/text.h"

/// Declared in torch/csrc/inductor/aoti_torch/c/shim.h, which contains much that is not needed here. Returns 0xMMmmpp
/// followed by five zero bytes.
extern "C" std::uint64_t aoti_torch_abi_version();

namespace casdm {

LoadedLibTorch loaded_libtorch() {
  const std::uint64_t abi = aoti_torch_abi_version();
  const auto part = [&](int byte) { return static_cast<int>((abi >> (8 * byte)) & 0xff); };
  LoadedLibTorch result;
  result.version = text(part(7), ".", part(6), ".", part(5));
  Dl_info info{};
  if (::dladdr(reinterpret_cast<void*>(&aoti_torch_abi_version), &info) != 0 && info.dli_fname != nullptr) {
    result.path = info.dli_fname;
  }
  return result;
}

}  // namespace casdm

const char* casdm_libtorch_difference() {
  static const std::string problem = [] {
    const casdm::LoadedLibTorch loaded = casdm::loaded_libtorch();
    const std::string ours = casdm::text(TORCH_VERSION_MAJOR, ".", TORCH_VERSION_MINOR, ".");
    if (loaded.version.starts_with(ours)) return std::string();
    return casdm::text("this casdm was built with LibTorch " TORCH_VERSION ", but LibTorch ", loaded.version,
                       " was loaded, from ", loaded.path.string(),
                       ". Remove what leads there (LD_LIBRARY_PATH, LD_PRELOAD), or build casdm with ", loaded.version);
  }();
  return problem.empty() ? nullptr : problem.c_str();
}
