#include "framework/training/remove_run.h"

#include <string>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/support/run_contents.h"
#include "framework/training/run_folder.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

bool is_number(const std::string& name) {
  return !name.empty() && name.find_first_not_of("0123456789") == std::string::npos;
}

/// Whether the program writes such names into the folder `place` of a run.
bool is_ours(const std::string& place, const fs::path& entry) {
  const std::string name = entry.filename().string();
  if (name.starts_with(".tmp-")) return true;
  if (place == "checkpoints") {
    const std::string images = name.substr(0, name.find('.'));
    return images.size() == 12 && is_number(images) && fs::is_directory(entry);
  }
  if (place == "checkpoint") return entry.extension() == ".safetensors" || name.starts_with("state.json");
  if (place == "samples") return entry.extension() == ".png" && is_number(entry.stem().string());
  if (place == "ema") return entry.extension() == ".safetensors";
  return is_of_run(name);
}

void check(const fs::path& folder, const std::string& place) {
  if (!fs::is_directory(folder)) return;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (is_ours(place, entry.path()) && !entry.is_symlink()) continue;
    throw ConfigError(text("--overwrite: ", entry.path().string(), " was not made by a training, so ", folder.string(),
                           " is not removed. Move it elsewhere, or choose another run.name"));
  }
}

/// All of a run, also of those set aside within it.
void check_run(const fs::path& path) {
  check(path, "");
  for (const char* place : {"checkpoints", "samples", "ema"}) check(path / place, place);
  if (!fs::is_directory(path / "checkpoints")) return;
  for (const auto& entry : fs::directory_iterator(path / "checkpoints")) check(entry.path(), "checkpoint");
  for (const auto& entry : fs::directory_iterator(path)) {
    if (entry.path().filename().string().starts_with("set-aside-")) check_run(entry.path());
  }
}

}  // namespace

void remove_run(const fs::path& path) {
  RunFolder run = RunFolder::open(path);
  check_run(path);
  run.lock();
  // Under another name first: a folder that is half removed is never taken for a run.
  const fs::path doomed = temporary_beside(path);
  fs::rename(path, doomed);
  fs::remove_all(doomed);
}

}  // namespace casdm
