#pragma once

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

/// A new folder PREFIX-XXXXXX in the system's folder for temporary files, removed with this object. Throws Error.
class ScratchFolder {
 public:
  explicit ScratchFolder(const std::string& prefix)
      : path_((std::filesystem::temp_directory_path() / (prefix + "-XXXXXX")).string()) {
    if (::mkdtemp(path_.data()) == nullptr) {
      throw Error(text("cannot create ", path_, ": ", std::strerror(errno), "; TMPDIR names another place"));
    }
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace casdm
