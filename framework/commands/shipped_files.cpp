#include "framework/commands/shipped_files.h"

#include <iostream>

#include "framework/support/child_program.h"

namespace casdm {

namespace fs = std::filesystem;

fs::path data_folder() { return own_program().parent_path().parent_path() / CASDM_DATADIR / "casdm"; }

fs::path or_shipped(const fs::path& file) {
  std::error_code ignored;
  if (file.empty() || file.is_absolute() || fs::exists(fs::symlink_status(file, ignored))) return file;
  fs::path shipped = data_folder() / file;
  if (!fs::is_regular_file(shipped, ignored)) return file;
  std::cerr << "there is no " << file.string() << " here; using the one that comes with casdm: " << shipped.string()
            << '\n';
  return shipped;
}

}  // namespace casdm
