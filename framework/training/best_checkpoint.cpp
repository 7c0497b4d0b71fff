#include "framework/training/best_checkpoint.h"

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

fs::path link_of(const RunFolder& run) { return run.checkpoints() / "best"; }

}  // namespace

fs::path best_checkpoint(const RunFolder& run) {
  std::error_code failure;
  const fs::path target = fs::read_symlink(link_of(run), failure);
  if (failure) return {};
  const fs::path checkpoint = run.checkpoints() / target.filename();
  return fs::exists(checkpoint / "state.json", failure) ? checkpoint : fs::path();
}

void keep_as_best(const RunFolder& run, const fs::path& checkpoint) {
  const fs::path link = link_of(run);
  std::error_code failure;
  const fs::file_status status = fs::symlink_status(link, failure);
  if (fs::exists(status) && !fs::is_symlink(status)) {
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
  if (fs::is_symlink(link_of(run), ignored)) fs::remove(link_of(run), ignored);
}

}  // namespace casdm
