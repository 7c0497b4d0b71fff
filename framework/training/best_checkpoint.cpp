#include "framework/training/best_checkpoint.h"

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

fs::path link_of(const RunFolder& run) { return run.checkpoints() / "best"; }

/// The checkpoint's name that the link holds; empty: there is none, or what is there is not this program's.
std::string target_of(const RunFolder& run) {
  std::error_code failure;
  const std::string target = fs::read_symlink(link_of(run), failure).string();
  const bool is_checkpoint = target.size() == 12 && target.find_first_not_of("0123456789") == std::string::npos;
  return !failure && is_checkpoint ? target : "";
}

}  // namespace

fs::path best_checkpoint(const RunFolder& run) {
  std::error_code failure;
  const std::string target = target_of(run);
  if (target.empty()) return {};
  const fs::path checkpoint = run.checkpoints() / target;
  return fs::exists(checkpoint / "state.json", failure) ? checkpoint : fs::path();
}

void keep_as_best(const RunFolder& run, const fs::path& checkpoint) {
  const fs::path link = link_of(run);
  std::error_code failure;
  if (fs::exists(fs::symlink_status(link, failure)) && target_of(run).empty()) {
    throw Error(text(link.string(), " is not the link to the best checkpoint; move it elsewhere"));
  }
  const fs::path made = temporary_beside(link);
  fs::create_directory_symlink(checkpoint.filename(), made, failure);
  if (!failure) fs::rename(made, link, failure);
  if (failure) {
    std::error_code ignored;
    fs::remove(made, ignored);
    throw Error(text("the best checkpoint cannot be marked by the link ", link.string(), ": ", failure.message(),
                     ". To train without: --set evaluate.keep_best=\"\""));
  }
  sync_folder(run.checkpoints());
}

void forget_best(const RunFolder& run) {
  std::error_code ignored;
  if (!target_of(run).empty()) fs::remove(link_of(run), ignored);
}

}  // namespace casdm
