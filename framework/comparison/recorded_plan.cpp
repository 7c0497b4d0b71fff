#include "framework/comparison/recorded_plan.h"

#include <algorithm>

#include "casdm/error.h"
#include "framework/support/files.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr const char* kFile = "file";
constexpr const char* kFolder = "lies_in";
constexpr const char* kEarlierFiles = "earlier_files";
constexpr std::int64_t kFormat = 1;
constexpr std::size_t kLargestPlan = 1 << 20;

fs::path file_of(const Sweep& sweep) { return fs::absolute(sweep.file).lexically_normal(); }

std::string folder_name(const fs::path& folder) { return fs::absolute(folder).lexically_normal().string(); }

/// Whether the folder of a plan was moved together with its file. If only the file is elsewhere, it belongs to another
/// project, even if it looks the same.
bool has_moved(const Value& plan, const std::string& file, const fs::path& folder) {
  const Value* before = plan.find(kFolder);
  if (before != nullptr && before->is_string()) return before->as_string() != folder_name(folder);
  std::error_code ignored;
  return !fs::exists(fs::symlink_status(file, ignored));
}

/// The sweep files recorded in the plan of a sweep's folder, newest first; none without a plan, or if `file_now` cannot
/// be one of them.
std::vector<std::string> files_in_plan(const fs::path& folder, const fs::path& file_now) {
  std::vector<std::string> files;
  try {
    const Value plan = read_plan(folder);
    if (const Value* file = plan.find(kFile); file != nullptr && file->is_string()) {
      if (file->as_string() != file_now && !has_moved(plan, file->as_string(), folder)) return files;
      files.push_back(file->as_string());
    }
    const Value* earlier = plan.find(kEarlierFiles);
    if (earlier == nullptr || !earlier->is_array()) return files;
    for (const Value& file : earlier->as_array()) {
      if (file.is_string()) files.push_back(file.as_string());
    }
  } catch (const Error&) {
    // A new folder has no plan yet, and a damaged one is reported where it is used.
  }
  return files;
}

Homes homes_of_file(const fs::path& folder, const fs::path& file_now) {
  Homes homes{file_now.parent_path(), {}};
  for (const std::string& file : files_in_plan(folder, file_now)) {
    const fs::path home = fs::path(file).parent_path();
    if (home != homes.now) homes.earlier.push_back(home);
  }
  return homes;
}

}  // namespace

Value recorded_plan(const Sweep& sweep) {
  Value::Array points, cells;
  for (const SweepPoint& point : sweep.points) {
    Value entry{Value::Table{}};
    entry.set("name", point.name);
    entry.set("baseline", static_cast<std::int64_t>(point.baseline));
    points.push_back(std::move(entry));
  }
  for (const SweepCell& cell : sweep.cells) {
    Value entry{Value::Table{}};
    entry.set("name", cell.name);
    entry.set("arm", static_cast<std::int64_t>(cell.point));
    entry.set("seed", cell.seed);
    cells.push_back(std::move(entry));
  }
  Value plan{Value::Table{}};
  plan.set("format", kFormat);
  plan.set("name", sweep.name);
  plan.set(kFile, file_of(sweep).string());
  plan.set(kFolder, folder_name(sweep.folder));
  Value::Array earlier;
  for (const std::string& file : files_in_plan(sweep.folder, file_of(sweep))) {
    const bool is_known = std::find(earlier.begin(), earlier.end(), Value(file)) != earlier.end();
    if (file != file_of(sweep) && !is_known) earlier.emplace_back(file);
  }
  if (!earlier.empty()) plan.set(kEarlierFiles, std::move(earlier));
  plan.set("arms", std::move(points));
  plan.set("cells", std::move(cells));
  return plan;
}

Value read_plan(const fs::path& folder) { return from_json(read_regular_file(folder / kPlanFile, kLargestPlan)); }

bool has_plan(const fs::path& folder) {
  try {
    const Value plan = read_plan(folder);
    return plan.is_table() && plan.find("format") != nullptr && plan.find("arms") != nullptr &&
           plan.find("cells") != nullptr;
  } catch (const Error&) {
    return false;
  }
}

bool Homes::is_moved(const ExperimentChange& change) const {
  if (!change.before.is_string() || !change.after.is_string()) return false;
  const fs::path before(change.before.as_string()), after(change.after.as_string());
  if (!before.is_absolute() || !after.is_absolute()) return false;
  // A run resumed after the move has the new path already.
  for (const auto& [old_path, new_path] : {std::pair(before, after), std::pair(after, before)}) {
    for (const fs::path& home : earlier) {
      if (old_path.lexically_relative(home) == new_path.lexically_relative(now)) return true;
    }
  }
  return false;
}

Homes homes_of(const Sweep& sweep) { return homes_of_file(sweep.folder, file_of(sweep)); }

Homes homes_of(const fs::path& folder, const Value& plan) {
  const Value* file = plan.find(kFile);
  return file != nullptr && file->is_string() ? homes_of_file(folder, file->as_string()) : Homes();
}

}  // namespace casdm
