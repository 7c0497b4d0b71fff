#include "framework/training/replaced_run.h"

#include <algorithm>
#include <iostream>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/report/written_page.h"
#include "framework/reporting/event_file.h"
#include "framework/reporting/image_files.h"
#include "framework/support/files.h"
#include "framework/support/folder_hold.h"
#include "framework/support/run_contents.h"
#include "framework/training/checkpoint.h"
#include "framework/training/checkpoint_files.h"
#include "framework/training/ema_snapshots.h"
#include "framework/training/log_file.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

/// In the folder of a run that was set aside: tells it from a folder that the user named so.
constexpr const char* kSetAside = ".tmp-replaced";

bool is_number(const std::string& name) {
  return !name.empty() && name.find_first_not_of("0123456789") == std::string::npos;
}

/// Whether init.json was written by the program: it says for each module where its weights came from.
bool is_init_record(const fs::path& file) {
  try {
    const Value record = from_json(read_file(file));
    const Value::Table& modules = record.as_table();
    return std::all_of(modules.begin(), modules.end(), [](const Value::Member& module) {
      return module.second.is_table() && module.second.find("sha256") != nullptr;
    });
  } catch (const Error&) {
    return false;
  }
}

/// Whether a file with one of the program's names was really made by it.
bool is_made_by_us(const fs::path& file) {
  const std::string name = file.filename().string();
  if (name == "report.html") return is_report(file);
  if (name == "init.json") return is_init_record(file);
  return !name.starts_with("events.out.") || is_event_file_of_ours(file);
}

/// Whether the program writes such an entry into the subfolder `place` of a run.
bool is_ours(const std::string& place, const fs::directory_entry& entry) {
  const std::string name = entry.path().filename().string();
  if (entry.is_symlink()) return place == "checkpoints" && name == "best";
  if (is_leftover(name) || (place.empty() && name == kSetAside)) return true;
  if (place == "checkpoints") {
    constexpr std::string_view aside = ".set-aside-";
    const std::string images = name.substr(0, 12), rest = name.substr(images.size());
    const bool is_aside = rest.starts_with(aside) && is_number(rest.substr(aside.size()));
    return images.size() == 12 && is_number(images) && (rest.empty() || is_aside) && entry.is_directory();
  }
  const bool is_png = entry.path().extension() == ".png" && is_number(entry.path().stem().string());
  if (place == "samples") return is_png && is_png_of_ours(entry.path());
  if (place == "evaluation") return is_of_evaluations(name) && entry.is_regular_file();
  if (name.starts_with(".tmp-") || !is_of_run(name)) return false;
  return is_folder_of_run(name) ? entry.is_directory() : entry.is_regular_file() && is_made_by_us(entry.path());
}

[[noreturn]] void refuse(const fs::path& stranger, const fs::path& folder) {
  throw ConfigError(text("--overwrite: ", quoted(stranger.string()), " was not made by a training, so ",
                         quoted(folder.string()), " is not removed. Move it elsewhere, or choose another run.name"));
}

void check(const fs::path& folder, const std::string& place) {
  if (!fs::is_directory(folder)) return;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (!is_ours(place, entry)) refuse(entry.path(), folder);
  }
}

void check_snapshots(const RunFolder& run) {
  if (!fs::is_directory(run.ema())) return;
  std::set<std::string> known;
  for (const EmaSnapshot& snapshot : ema_snapshots(run)) known.insert(snapshot.path.filename().string());
  for (const auto& entry : fs::directory_iterator(run.ema())) {
    const std::string name = entry.path().filename().string();
    const bool is_snapshot = known.contains(name) && !entry.is_symlink();
    if (!is_snapshot && !is_leftover(name)) refuse(entry.path(), run.ema());
  }
}

/// Checks all of a run, including the runs set aside within it.
void check_run(const fs::path& path) {
  check(path, "");
  for (const char* place : {"checkpoints", "samples", "evaluation"}) check(path / place, place);
  if (is_run_folder(path)) check_snapshots(RunFolder::open(path));
  if (fs::is_directory(path / "checkpoints")) {
    for (const auto& entry : fs::directory_iterator(path / "checkpoints")) {
      if (is_leftover(entry.path().filename().string()) || entry.is_symlink()) continue;
      if (!fs::exists(entry.path() / "state.json") && !fs::is_empty(entry.path())) refuse(entry.path(), path);
      for (const std::string& name : strangers_in_checkpoint(entry.path())) refuse(entry.path() / name, entry.path());
    }
  }
  for (const auto& entry : fs::directory_iterator(path)) {
    if (entry.path().filename().string().starts_with("set-aside-")) check_run(entry.path());
  }
}

fs::path aside_of(const fs::path& path) {
  fs::path aside = path;
  aside += ".replaced";
  return aside;
}

/// Throws Error while another process trains a run that was set aside in this one.
void require_idle(const fs::path& path) {
  for (const auto& entry : fs::directory_iterator(path)) {
    if (!entry.path().filename().string().starts_with("set-aside-") || !is_run_folder(entry.path())) continue;
    RunFolder::open(entry.path()).lock();
    require_idle(entry.path());
  }
}

/// The run, locked, once all has been checked that could prevent its removal.
RunFolder locked_run(const fs::path& path) {
  if (fs::is_symlink(path)) {
    throw ConfigError(text("--overwrite: ", quoted(path.string()), " is a link to ",
                           quoted(fs::read_symlink(path).string()),
                           ", which would stay; remove the two yourself, or choose another run.name"));
  }
  RunFolder run = RunFolder::open(path);
  check_run(path);
  run.lock();
  require_idle(path);
  return run;
}

/// The log may hold a resume before the first step.
bool has_taken_a_step(const RunFolder& run) {
  const auto checkpoints = Checkpoint::all(run);
  const bool has_logged = end_of_lines(run.log(), Checkpoint::kMostImages) > end_of_lines(run.log(), 0);
  return has_logged || (!checkpoints.empty() && checkpoints.back().first > 0);
}

void set_aside(const fs::path& path, const fs::path& aside) {
  AtomicFile mark(path / kSetAside);
  mark.commit();
  std::error_code failure;
  fs::rename(path, aside, failure);
  if (failure) {
    fs::remove(path / kSetAside);
    throw Error(text(path.string(), " cannot be renamed to ", aside.string(), ": ", failure.message()));
  }
  sync_folder(fs::absolute(aside).parent_path());
}

/// Whether the run went back.
bool bring_back(const fs::path& aside, const fs::path& path) {
  std::error_code failure;
  fs::rename(aside, path, failure);
  if (failure) return false;
  fs::remove(path / kSetAside, failure);
  sync_folder(fs::absolute(path).parent_path());
  return true;
}

}  // namespace

ReplacedRun::ReplacedRun(const fs::path& path) : path_(path), aside_(aside_of(path)), run_(locked_run(path)) {
  if (!fs::exists(fs::symlink_status(aside_))) {
    set_aside(path_, aside_);
    return;
  }
  if (!fs::exists(aside_ / kSetAside)) {
    throw ConfigError(text("--overwrite: ", quoted(path_.string()), " is to be set aside as ", quoted(aside_.string()),
                           ", which exists; remove that, or rename it to keep it"));
  }
  // An earlier process had set it aside, and ended before it was removed. What is still empty in its place goes
  // instead.
  run_.remove_if_unused();
  if (!fs::exists(path_)) {
    run_ = locked_run(aside_);
    return;
  }
  if (!has_taken_a_step(run_)) {
    throw ConfigError(text("--overwrite: ", quoted(path_.string()), " is to be set aside as ", quoted(aside_.string()),
                           ", where the run that it was to replace still is; remove that, or rename it to keep it"));
  }
  const RunFolder earlier = locked_run(aside_);
  remove_folder(aside_);
  std::cerr << aside_.string() << ", which an earlier --overwrite had set aside, is removed\n";
  set_aside(path_, aside_);
}

ReplacedRun::~ReplacedRun() {
  std::error_code failure;
  if (!is_removed_ && !fs::exists(path_, failure)) bring_back(aside_, path_);
}

void ReplacedRun::remove() {
  if (is_removed_) return;
  remove_folder(aside_);
  is_removed_ = true;
}

RunFolder replace_run(const fs::path& path, const Value& resolved) {
  auto replaced = std::make_shared<ReplacedRun>(path);
  RunFolder run = RunFolder::create(path, resolved);
  run.replace(std::move(replaced));
  return run;
}

void keep_replaced_run(const fs::path& path) {
  if (!fs::exists(path / kSetAside)) return;
  fs::remove(path / kSetAside);
  sync_folder(path);
}

bool restore_replaced_run(const fs::path& path) {
  const fs::path aside = aside_of(path);
  if (fs::exists(path) || !fs::exists(aside / kSetAside)) return false;
  RunFolder::open(aside).lock();  // throws while the process that set it aside lives
  if (!bring_back(aside, path)) throw Error(text(aside.string(), " cannot be renamed to ", path.string()));
  return true;
}

}  // namespace casdm
