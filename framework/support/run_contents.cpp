#include "framework/support/run_contents.h"

#include <algorithm>
#include <string_view>
#include <system_error>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

bool has(const fs::path& folder, const char* name) {
  std::error_code ignored;
  return fs::exists(folder / name, ignored);
}

bool is_run(const fs::path& folder) {
  return has(folder, "config.toml") &&
         (has(folder, "checkpoints") || has(folder, ".lock") || has(folder, "metrics.jsonl"));
}

/// What a training has made and `path` is, or lies in; empty: there is none.
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

bool is_of_run(const std::string& name) {
  constexpr std::string_view aside = "set-aside-";
  if (name.starts_with(".tmp-") || name.starts_with("events.out.tfevents.")) return true;
  if (name.starts_with(aside)) {
    return name.size() > aside.size() && name.find_first_not_of("0123456789", aside.size()) == std::string::npos;
  }
  const std::string_view known[] = {"config.toml", "init.json", "metrics.jsonl", ".lock",     "samples",
                                    "checkpoints", "ema",       "report.html",   "evaluation"};
  return std::find(std::begin(known), std::end(known), name) != std::end(known);
}

void refuse_inside_run(const std::string& command, const fs::path& out) {
  std::error_code failure;
  fs::path whole = fs::absolute(out, failure).lexically_normal();
  if (!whole.has_filename()) whole = whole.parent_path();
  // The name itself, which may be a link in a run, and what it leads to.
  for (const fs::path& path :
       {fs::weakly_canonical(whole.parent_path(), failure) / whole.filename(), fs::weakly_canonical(whole, failure)}) {
    const std::string owner = owner_of(path);
    if (owner.empty()) continue;
    throw ConfigError(text(command, ": ", quoted(out.string()), " belongs to ", owner,
                           ", where only a training writes; choose another place"));
  }
}

}  // namespace casdm
