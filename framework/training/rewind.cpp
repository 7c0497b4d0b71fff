#include "framework/training/rewind.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <iostream>
#include <limits>
#include <optional>
#include <vector>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/document.h"
#include "framework/config/key_path.h"
#include "framework/reporting/image_files.h"
#include "framework/support/files.h"
#include "framework/support/run_contents.h"
#include "framework/support/sealed_json.h"
#include "framework/training/best_checkpoint.h"
#include "framework/training/checkpoint.h"
#include "framework/training/ema_snapshots.h"
#include "framework/training/log_file.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr const char* kAsideName = "set-aside-";

/// The grids of a run: samples/<images>.png.
std::vector<std::pair<std::int64_t, fs::path>> grids_in(const RunFolder& run) {
  std::vector<std::pair<std::int64_t, fs::path>> result;
  if (!fs::is_directory(run.samples())) return result;
  for (const auto& entry : fs::directory_iterator(run.samples())) {
    const std::string name = entry.path().filename().string();
    std::int64_t images = 0;
    std::from_chars(name.data(), name.data() + name.size(), images);
    if (name == text(images, ".png") && is_png_of_ours(entry.path())) result.emplace_back(images, entry.path());
  }
  return result;
}

/// The images of the checkpoint whose samples are shown in a record of nearest images, which its name does not contain;
/// nothing if it cannot be read.
std::optional<std::int64_t> images_of_nearest(const fs::path& file) {
  const std::string name = file.filename().string();
  if (!name.starts_with("nearest-") || !is_of_evaluations(name)) return std::nullopt;
  try {
    const Value record = from_json(read_regular_file(file, kLargestRecord));
    const Value* images = record.is_table() ? record.find("checkpoint_images") : nullptr;
    if (images != nullptr && images->is_integer()) return images->as_integer();
  } catch (const Error&) {  // not written by this program
  }
  return std::nullopt;
}

/// Evaluations of a run's checkpoints.
std::vector<std::pair<std::int64_t, fs::path>> evaluations_in(const RunFolder& run) {
  std::vector<std::pair<std::int64_t, fs::path>> result;
  const fs::path folder = run.path() / "evaluation";
  if (!fs::is_directory(folder)) return result;
  for (const auto& entry : fs::directory_iterator(folder)) {
    std::optional<std::int64_t> images = images_of_evaluation(entry.path().filename().string());
    if (!images) images = images_of_nearest(entry.path());
    if (images && entry.is_regular_file()) result.emplace_back(*images, entry.path());
  }
  return result;
}

fs::path free_name(const RunFolder& run) {
  for (int i = 1;; ++i) {
    const fs::path path = run.path() / text(kAsideName, i);
    if (!fs::exists(fs::symlink_status(path))) return path;
  }
}

/// Moves files first, then checkpoints from the oldest on: the newest checkpoint stays the same until the last one is
/// moved.
void set_aside(const RunFolder& run, const std::vector<fs::path>& checkpoints, const std::vector<fs::path>& files) {
  const fs::path path = free_name(run);
  AtomicFolder folder(path);
  const fs::path& to = folder.temporary();
  for (const fs::path& file : files) {
    const fs::path beside = to / file.lexically_relative(run.path()).parent_path();
    fs::create_directories(beside);
    link_or_copy(file, beside);
  }
  fs::create_directory(to / "checkpoints");
  if (fs::exists(run.log())) write_file(to / "metrics.jsonl", read_file(run.log()));
  if (!checkpoints.empty()) {
    write_file(to / "config.toml", read_file(run.config()));
    if (fs::exists(run.init())) write_file(to / run.init().filename(), read_file(run.init()));
  }
  const fs::path best = best_checkpoint(run);
  const bool has_best = std::find(checkpoints.begin(), checkpoints.end(), best) != checkpoints.end();
  if (has_best) keep_as_best(RunFolder::open(to), best);
  folder.commit();
  for (const fs::path& checkpoint : checkpoints) fs::rename(checkpoint, path / "checkpoints" / checkpoint.filename());
  if (checkpoints.empty()) return;
  if (has_best) forget_best(run);
  sync_folder(path / "checkpoints");
  sync_folder(run.checkpoints());
}

void go_back(const RunFolder& run, std::int64_t images, bool repeats) {
  std::vector<fs::path> checkpoints, files, later, judged;
  for (const auto& [seen, path] : Checkpoint::all(run)) {
    if (seen > images) checkpoints.push_back(path);
  }
  const auto add = [&](std::int64_t seen, const fs::path& path, std::vector<fs::path>& to) {
    files.push_back(path);
    // A folder that is a link may point to somebody else's files, so nothing is removed there; files are only replaced
    // by new ones of the same name.
    if (seen > images && fs::is_directory(fs::symlink_status(path.parent_path()))) to.push_back(path);
  };
  for (const EmaSnapshot& snapshot : ema_snapshots(run)) add(snapshot.images, snapshot.path, later);
  for (const auto& [seen, path] : grids_in(run)) add(seen, path, later);
  for (const auto& [seen, path] : evaluations_in(run)) add(seen, path, judged);
  // A training writes the same files again, but it does not repeat `casdm evaluate`.
  const bool is_another_branch = !checkpoints.empty() || !repeats;
  if (is_another_branch) later.insert(later.end(), judged.begin(), judged.end());
  const std::uintmax_t end = end_of_lines(run.log(), images);
  const bool is_log_longer = end_of_lines(run.log(), std::numeric_limits<std::int64_t>::max()) > end;
  if (checkpoints.empty() && later.empty() && !is_log_longer) return;

  if (is_another_branch) set_aside(run, checkpoints, files);
  if (is_log_longer) fs::resize_file(run.log(), end);
  for (const fs::path& path : later) fs::remove(path);
  run.sync();
}

/// The run's checkpoint of that number; nothing if there is none or it is damaged.
std::optional<Checkpoint> readable(const fs::path& own) {
  try {
    if (is_there(own)) return Checkpoint::open(own);
  } catch (const Error&) {  // it is replaced
  }
  return std::nullopt;
}

/// The set-aside folder of the run to which the checkpoint belongs: the one that has the same, or else the latest that
/// holds its log and may take it; empty: none.
fs::path home_of(const RunFolder& run, const Checkpoint& checkpoint) {
  const Value* mark = checkpoint.numbers().find(kLogMark);
  fs::path found;
  for (int i = 1;; ++i) {
    const fs::path aside = run.path() / text(kAsideName, i);
    if (!is_there(aside)) return found;
    if (!is_run_folder(aside)) continue;
    const RunFolder folder = RunFolder::open(aside);
    const std::optional<Checkpoint> there = readable(Checkpoint::path_of(folder, checkpoint.images()));
    if (there && there->files_sha256() == checkpoint.files_sha256()) return aside;
    if (!there && mark != nullptr && holds_mark(folder.log(), *mark, checkpoint.images())) found = aside;
  }
}

[[noreturn]] void fail_of_other_branch(const RunFolder& run, const Checkpoint& checkpoint) {
  const fs::path home = home_of(run, checkpoint);
  const fs::path name = Checkpoint::path_of(run, checkpoint.images()).filename();
  throw ConfigError(text(
      checkpoint.path().string(), " is of another branch than ", run.path().string(), ", whose log, snapshots and ",
      "checkpoints up to ", checkpoint.images(), " images are not its past. Resume it in the run that saved it",
      home.empty() ? text(", perhaps a set-aside folder of this one, as checkpoints/", name.string(), " there")
                   : text(": move it to ", (home / "checkpoints" / name).string(),
                          ", unless that is there already, and resume that")));
}

}  // namespace

fs::path own_checkpoint(const RunFolder& run, const Checkpoint& checkpoint) {
  const fs::path own = Checkpoint::path_of(run, checkpoint.images());
  std::error_code ignored;
  const Value* mark = checkpoint.numbers().find(kLogMark);
  const bool is_past = mark == nullptr || holds_mark(run.log(), *mark, checkpoint.images());
  if (fs::equivalent(own, checkpoint.path(), ignored)) {
    if (!is_past) {
      std::cerr << "warning: " << run.log().string() << " is not the log with which " << checkpoint.path().string()
                << " was saved: it was edited, or the checkpoint is of another branch, whose snapshots and log are not "
                   "this run's\n";
    }
    return own;
  }
  if (const std::optional<Checkpoint> there = readable(own)) {
    if (there->files_sha256() == checkpoint.files_sha256()) return own;
    fail_of_other_branch(run, checkpoint);
  }
  const Value config = load_document(run.config());
  for (const char* key : {"run.name", "run.seed"}) {
    const Value *here = find_path(config, key), *there = find_path(checkpoint.config(), key);
    if (here == nullptr || there == nullptr || *here == *there) continue;
    throw ConfigError(text(checkpoint.path().string(), " is of another run: its ", key, " is ", to_toml_value(*there),
                           ", that of ", run.path().string(), " is ", to_toml_value(*here)));
  }
  if (!is_past) fail_of_other_branch(run, checkpoint);
  return checkpoint.copy_into(run);
}

void rewind(const RunFolder& run, std::int64_t images, bool repeats) {
  try {
    go_back(run, images, repeats);
  } catch (const fs::filesystem_error& error) {
    throw Error(text("what ", run.path().string(), " holds after ", images,
                     " images cannot be set aside: ", error.path1().string(), ": ", error.code().message()));
  }
}

}  // namespace casdm
