#include "framework/evaluation/judged_checkpoint.h"

#include <iomanip>
#include <sstream>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/key_path.h"
#include "framework/support/files.h"
#include "framework/support/sha256.h"
#include "framework/training/log_file.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kLargestState = 64 << 20;

}  // namespace

std::string files_sha256(const fs::path& checkpoint) {
  try {
    const std::string state = read_regular_file(checkpoint / "state.json", kLargestState);
    const fs::path sum = checkpoint / "state.json.sha256";  // version 0.1 had none
    if (fs::exists(sum) && !read_regular_file(sum, kLargestState).starts_with(sha256(state))) return "";
    const Value record = from_json(state);
    const Value* files = record.find("files");
    return files != nullptr ? sha256(to_json(*files)) : "";
  } catch (const Error&) {
    return "";
  }
}

bool JudgedCheckpoints::is_of_run(const fs::path& name) const {
  const fs::path state = run_ / "checkpoints" / name / "state.json";
  if (!is_there(state)) return true;
  try {
    const Value record = from_json(read_regular_file(state, kLargestState));
    const Value *mark = find_path(record, text("numbers.", kLogMark)), *images = find_path(record, "numbers.images");
    if (mark == nullptr || images == nullptr || !images->is_integer()) return true;
    return holds_mark(run_ / "metrics.jsonl", *mark, images->as_integer());
  } catch (const Error&) {
    return true;
  }
}

bool JudgedCheckpoints::have_judged(const Value& record) {
  const Value* judged = find_path(record, text("run.checkpoint.", kFilesDigest));
  const Value* images = find_path(record, "run.checkpoint.images");
  if (judged == nullptr || images == nullptr || !images->is_integer()) return true;
  const auto [known, is_new] = digests_.try_emplace(images->as_integer());
  if (is_new) {
    std::ostringstream name;
    name << std::setw(12) << std::setfill('0') << images->as_integer();
    known->second = files_sha256(run_ / "checkpoints" / name.str());
  }
  if (!known->second.empty()) return *judged == Value(known->second);
  const Value* path = find_path(record, "run.checkpoint.path");
  return path == nullptr || !path->is_string() || is_of_run(fs::path(path->as_string()).filename());
}

}  // namespace casdm
