#include "framework/loading/trusted_path.h"

#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "casdm/error.h"
#include "casdm/text.h"
#include "casdm/user_folder.h"
#include "casdm/value.h"
#include "framework/support/files.h"
#include "framework/support/folder_hold.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

/// A group that contains only the user, as many distributions create for every user, does not count as "others".
bool is_private_group(gid_t group) {
  const passwd* user = ::getpwuid(::geteuid());
  if (user == nullptr || user->pw_gid != group) return false;
  const std::string name = user->pw_name;
  const struct group* entry = ::getgrgid(group);
  return entry != nullptr && name == entry->gr_name && (entry->gr_mem == nullptr || *entry->gr_mem == nullptr);
}

/// With an access list, the group's bits are an upper bound of what its entries allow.
bool has_access_list(const fs::path& path) {
  return ::getxattr(path.c_str(), "system.posix_acl_access", nullptr, 0) > 0;
}

/// What is wrong with this one file or folder.
std::string problem_of(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return text("cannot be read: ", std::strerror(errno));
  if (status.st_uid != 0 && status.st_uid != ::geteuid()) {
    return text("belongs to another user (uid ", status.st_uid, "); plugins must belong to you or to root");
  }
  if (S_ISDIR(status.st_mode) && (status.st_mode & S_ISVTX) != 0) return "";
  if ((status.st_mode & S_IWOTH) != 0) return "can be changed by every user; chmod o-w it";
  if ((status.st_mode & S_IWGRP) == 0) return "";
  if (has_access_list(path)) return "can be changed by the users of its access list; chmod g-w it";
  if (status.st_gid == 0 || is_private_group(status.st_gid)) return "";
  return "can be changed by its group; chmod g-w it";
}

std::optional<fs::path> list_of_allowed() {
  const auto state = user_folder(UserFolder::state);
  return state ? std::optional(*state / "trusted_plugins.json") : std::nullopt;
}

Value::Array allowed() {
  const auto file = list_of_allowed();
  std::error_code error;
  if (!file || !fs::exists(*file, error)) return {};
  try {
    const Value list = from_json(read_file(*file));
    if (list.is_array()) return list.as_array();
  } catch (const Error&) {  // a damaged list allows nothing
  }
  return {};
}

/// Whether an entry of the list is for this path. Version 0.1 stored only the path.
bool is_of(const Value& entry, const fs::path& library) {
  const Value* path = entry.is_table() ? entry.find("path") : &entry;
  return path != nullptr && *path == Value(library.string());
}

}  // namespace

bool trusts_plugins() {
  const char* const value = std::getenv(kTrustPlugins);
  return value != nullptr && *value != '\0' && std::string_view(value) != "0";
}

std::string distrust(const fs::path& path) {
  std::string problem = problem_of(path);
  if (!problem.empty()) return problem;
  for (fs::path folder = path.parent_path();; folder = folder.parent_path()) {
    problem = problem_of(folder);
    if (!problem.empty()) return text("is in the folder ", folder.string(), ", which ", problem);
    if (folder == folder.parent_path()) return "";
  }
}

std::string objection_to(const fs::path& library) {
  const Value::Array list = allowed();
  const auto entry = std::find_if(list.begin(), list.end(), [&](const Value& one) { return is_of(one, library); });
  if (entry == list.end()) return "has not been allowed to run";
  const fs::path file = *list_of_allowed();
  if (const std::string problem = distrust(fs::weakly_canonical(file)); !problem.empty()) {
    return text("was allowed in ", file.string(), ", which ", problem);
  }
  const Value* sum = entry->find("sha256");
  if (sum == nullptr) return "was allowed by an earlier casdm, which did not remember the file, only its path";
  return *sum == Value(sha256_of_file(library)) ? "" : "is not the file that you allowed: it was rebuilt or replaced";
}

void allow(const fs::path& library) {
  const auto file = list_of_allowed();
  if (!file || objection_to(library).empty()) return;
  const FolderTurn turn(file->parent_path());
  Value::Array list = allowed();
  std::erase_if(list, [&](const Value& one) { return is_of(one, library); });
  Value entry{Value::Table{}};
  entry.set("path", library.string());
  entry.set("sha256", sha256_of_file(library));
  list.push_back(std::move(entry));
  try {
    write_file(*file, to_json(list, 1) + "\n");
  } catch (const std::exception&) {  // if it cannot be remembered, the user is asked again
  }
}

}  // namespace casdm
