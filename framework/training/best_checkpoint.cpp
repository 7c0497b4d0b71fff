#include "framework/training/best_checkpoint.h"

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

fs::path link_of(const RunFolder& run) { return run.checkpoints() / "best"; }

/// The name of the checkpoint in the link; empty: there is no link, or it was not made by this program.
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

void require_place_for_best(const RunFolder& run) {
  std::error_code failure;
  if (!fs::exists(fs::symlink_status(link_of(run), failure)) || !target_of(run).empty()) return;
  throw Error(text(link_of(run).string(), " is not the link to the best checkpoint; move it elsewhere"));
}

void keep_as_best(const RunFolder& run, const fs::path& checkpoint) {
  const fs::path link = link_of(run);
  std::error_code failure;
  require_place_for_best(run);
  const auto fail = [](const std::string& problem) {
    throw Error(
        text("the best checkpoint cannot be marked: ", problem, ". To train without: --set evaluate.keep_best=\"\""));
  };
  try {
    const AtomicFolder scratch(link);  // a plain link left after a kill would not be recognised as a leftover
    const fs::path made = scratch.temporary() / link.filename();
    fs::create_directory_symlink(checkpoint.filename(), made, failure);
    if (!failure) fs::rename(made, link, failure);
  } catch (const Error& error) {
    fail(error.what());
  }
  if (failure) fail(text("the link ", link.string(), ": ", failure.message()));
  sync_folder(run.checkpoints());
}

void forget_best(const RunFolder& run) {
  std::error_code ignored;
  if (!target_of(run).empty()) fs::remove(link_of(run), ignored);
}

}  // namespace casdm
