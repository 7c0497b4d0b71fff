#include "framework/support/run_contents.h"

#include <algorithm>
#include <regex>
#include <string_view>
#include <system_error>
#include <vector>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/support/files.h"
#include "framework/support/shell_word.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kAside = "set-aside-";

bool has(const fs::path& folder, const char* name) {
  std::error_code ignored;
  return fs::exists(folder / name, ignored);
}

bool is_run(const fs::path& folder) {
  return is_run_folder(folder) || (has(folder, "config.toml") && has(folder, "metrics.jsonl"));
}

/// The part of a run that is `path` or contains it; empty: there is none.
std::string owner_of(const fs::path& path) {
  fs::path below = path;
  for (fs::path folder = path;; below = folder, folder = folder.parent_path()) {
    if (has(folder, "state.json") && has(folder, "weights.safetensors"))
      return text("the checkpoint ", quoted(folder.string()));
    const bool is_owned = folder == path || is_of_run(below.filename().string());
    if (is_run(folder) && is_owned) return text("the run ", quoted(folder.string()));
    if (folder == folder.parent_path()) return "";
  }
}

}  // namespace

bool is_run_folder(const fs::path& path) {
  std::error_code failure;
  return fs::is_regular_file(path / "config.toml", failure) && (has(path, "checkpoints") || has(path, ".lock"));
}

fs::path run_of_checkpoint(const fs::path& checkpoint) {
  fs::path whole = fs::absolute(checkpoint).lexically_normal();
  if (!whole.has_filename()) whole = whole.parent_path();
  std::error_code failure;
  for (const fs::path& path : {whole, fs::weakly_canonical(whole, failure)}) {
    const fs::path run = path.parent_path().parent_path();
    if (path.parent_path().filename() == "checkpoints" && is_run_folder(run)) return run;
  }
  return {};
}

bool is_of_run(const std::string& name) {
  if (name.starts_with(".tmp-") || name.starts_with("events.out.tfevents.")) return true;
  if (name.starts_with(kAside)) {
    return name.size() > kAside.size() && name.find_first_not_of("0123456789", kAside.size()) == std::string::npos;
  }
  const std::string_view known[] = {"config.toml", "init.json", "metrics.jsonl", ".lock",     "samples",
                                    "checkpoints", "ema",       "report.html",   "evaluation"};
  return std::find(std::begin(known), std::end(known), name) != std::end(known);
}

bool is_folder_of_run(const std::string& name) {
  const std::string_view known[] = {"samples", "checkpoints", "ema", "evaluation"};
  return name.starts_with(kAside) || std::find(std::begin(known), std::end(known), name) != std::end(known);
}

std::optional<std::int64_t> images_of_evaluation(const std::string& name) {
  static const std::regex form("([0-9]{12})-[A-Za-z0-9_]{0,64}-[0-9a-f]{16}\\.(json|state)");
  std::smatch parts;
  if (!std::regex_match(name, parts, form)) return std::nullopt;
  return std::stoll(parts[1].str());
}

bool is_of_evaluations(const std::string& name) {
  static const std::regex other("(floor|nearest)-[0-9a-f]{16}\\.json");
  return images_of_evaluation(name) || std::regex_match(name, other);
}

std::string why_missing(const fs::path& path) {
  const fs::path folder = fs::absolute(path).lexically_normal().parent_path();
  std::vector<std::string> there;
  std::error_code failure;
  for (fs::directory_iterator entry(folder, failure), end; !failure && entry != end; entry.increment(failure)) {
    if (has(entry->path(), "state.json")) there.push_back(entry->path().filename().string());
  }
  std::sort(there.begin(), there.end());
  const std::string near = near_path(path);
  return text(quoted(path.string()), " does not exist",
              !there.empty()  ? text("; the checkpoints there are ", join(there, ", "))
              : !near.empty() ? text("; did you mean ", quoted(near), "?")
                              : "");
}

std::string why_no_run(const fs::path& path) {
  std::error_code failure;
  if (!fs::exists(path, failure)) return why_missing(path);
  const fs::path above = path.lexically_normal() / ".." / "..";
  const bool is_checkpoint = has(path, "state.json") && is_run_folder(above);
  if (has(path, "config.toml")) {
    return text(path.string(), " is not a run folder: it holds a config.toml, but no training made it. To train that: ",
                "casdm train ", shell_word((path / "config.toml").string()));
  }
  return text(path.string(), " is not a run folder: it holds no config.toml",
              is_checkpoint ? text(". It is a checkpoint; give its run, ", fs::canonical(above).string())
              : has(path, "sweep.json")
                  ? ". It is the folder of a sweep: `casdm report` takes it as it is, other commands one of its runs"
                  : "");
}

void require_own_folder(const fs::path& folder) {
  if (!fs::is_symlink(fs::symlink_status(folder))) return;
  throw ConfigError(text(folder.string(), " is a link to ", quoted(fs::read_symlink(folder).string()),
                         ": a run keeps what belongs to it in the run itself, so that another run, such as a copy of "
                         "this one, does not write and remove among it, and that it can be set aside when the run goes "
                         "back. Move it here, or move the whole run to where there is room, and link to the run"));
}

void refuse_inside_run(const std::string& command, const fs::path& out) {
  std::error_code failure;
  fs::path whole = fs::absolute(out, failure).lexically_normal();
  if (!whole.has_filename()) whole = whole.parent_path();
  // Both the path itself, which may be a link in a run, and its target.
  for (const fs::path& path :
       {fs::weakly_canonical(whole.parent_path(), failure) / whole.filename(), fs::weakly_canonical(whole, failure)}) {
    const std::string owner = owner_of(path);
    if (owner.empty()) continue;
    throw ConfigError(text(command, ": ", quoted(out.string()), " belongs to ", owner,
                           ", which only training writes to; choose another place"));
  }
}

}  // namespace casdm
