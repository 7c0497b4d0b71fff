#include "framework/loading/load_record.h"

#include <algorithm>
#include <chrono>
#include <ctime>

#include "casdm/error.h"
#include "casdm/text.h"
#include "casdm/user_folder.h"
#include "framework/support/files.h"
#include "framework/support/folder_hold.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

std::string now() {
  const std::time_t time = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  char buffer[32];
  return {buffer, std::strftime(buffer, sizeof(buffer), "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&time))};
}

}  // namespace

std::optional<fs::path> LoadRecord::folder() {
  const auto state = user_folder(UserFolder::state);
  return state ? std::optional(*state / "plugins") : std::nullopt;
}

LoadRecord::LoadRecord(std::string build_id) {
  const auto place = folder();
  if (place && !build_id.empty()) file_ = *place / (build_id + ".json");
}

Value LoadRecord::read() const {
  std::error_code error;
  if (file_.empty() || !fs::exists(file_, error)) return Value(Value::Table{});
  try {
    Value record = from_json(read_file(file_));
    if (record.is_table()) return record;
  } catch (const Error&) {  // a damaged record counts as none
  }
  return Value(Value::Table{});
}

void LoadRecord::write(const Value& record) const {
  try {
    write_file(file_, to_json(record, 1) + "\n");
  } catch (const std::exception&) {  // without a record, the next run tries again
  }
}

bool LoadRecord::is_good(const std::string& what) const {
  const Value record = read();
  const Value* good = record.find("good");
  if (good == nullptr || !good->is_array()) return false;
  const Value::Array& all = good->as_array();
  return std::find(all.begin(), all.end(), Value(what)) != all.end();
}

void LoadRecord::add_good(const std::vector<std::string>& what) {
  if (file_.empty()) return;
  const FolderTurn turn(file_.parent_path());
  Value record = read();
  const Value* known = record.find("good");
  Value::Array all = known != nullptr && known->is_array() ? known->as_array() : Value::Array{};
  for (const std::string& one : what) {
    if (std::find(all.begin(), all.end(), Value(one)) == all.end()) all.emplace_back(one);
  }
  record.set("good", std::move(all));
  write(record);
}

std::string LoadRecord::crash() const {
  const Value record = read();
  const Value* crash = record.find("crash");
  return crash != nullptr && crash->is_string() ? crash->as_string() : "";
}

void LoadRecord::set_crash(const std::string& description) {
  if (file_.empty()) return;
  const FolderTurn turn(file_.parent_path());
  Value record{Value::Table{}};
  record.set("crash", text(description, " (", now(), ")"));
  write(record);
}

std::size_t LoadRecord::forget_crashes() {
  const auto place = folder();
  std::error_code error;
  std::size_t count = 0;
  if (!place || !fs::exists(*place, error)) return count;
  const FolderTurn turn(*place);
  for (fs::directory_iterator entry(*place, error), end; !error && entry != end; entry.increment(error)) {
    if (LoadRecord(entry->path().stem().string()).crash().empty()) continue;
    count += fs::remove(entry->path(), error);
  }
  return count;
}

}  // namespace casdm
