#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

namespace casdm {

/// The folder of a user's compiled kernels, in UserFolder::cache; nothing where there is none.
std::optional<std::filesystem::path> kernel_folder();

/// Compiled kernels as files, so that only the first process that uses one waits for the compiler. Any number of
/// processes may use one folder at once. Everything that goes wrong with a file only means that its kernel is compiled.
class KernelCache {
 public:
  /// @param folder  need not exist; nothing: compiles everything
  /// @param most    bytes of all files; beyond them those that were not used for the longest time are removed
  explicit KernelCache(std::optional<std::filesystem::path> folder, std::uintmax_t most = 64 << 20);

  /// The code that `compile()` returns, or returned when it was last called for this `origin`: everything that the code
  /// depends on. A file that was altered, or could have been by another user, is not used.
  std::string code(const std::string& origin, const std::function<std::string()>& compile) const;

 private:
  std::optional<std::filesystem::path> folder_;
  std::uintmax_t most_;
};

}  // namespace casdm
