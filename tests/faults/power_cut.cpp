#include "power_cut.h"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

namespace {

std::string parent(const std::string& path) { return path.substr(0, path.rfind('/')); }

bool is_part(const std::string& path, const std::string& folder) {
  return path == folder || path.compare(0, folder.size() + 1, folder + "/") == 0;
}

std::string moved(const std::string& path, const std::string& from, const std::string& to) {
  return is_part(path, from) ? to + path.substr(from.size()) : path;
}

void undo(const NameChange& change) {
  switch (change.kind) {
    case NameChange::kMade:
      syscall(SYS_unlink, change.path.c_str());
      break;
    case NameChange::kMoved:
      syscall(SYS_rename, change.path.c_str(), change.from.c_str());
      break;
    case NameChange::kFolderMade:
      syscall(SYS_rmdir, change.path.c_str());
      break;
    case NameChange::kFolderRemoved:
      syscall(SYS_mkdir, change.path.c_str(), 0755);
      break;
    case NameChange::kRemoved:
      break;
  }
  if (!change.shadow.empty()) syscall(SYS_link, change.shadow.c_str(), change.path.c_str());
}

}  // namespace

PowerCut::PowerCut(std::string kind, std::string shadow_folder)
    : kind_(std::move(kind)), shadow_folder_(std::move(shadow_folder)) {}

std::string PowerCut::keep(const std::string& path, long call) const {
  if (!is_planned()) return "";
  const std::string shadow = shadow_folder_ + "/" + std::to_string(getpid()) + "-" + std::to_string(call);
  return syscall(SYS_link, path.c_str(), shadow.c_str()) == 0 ? shadow : "";
}

void PowerCut::note_name(NameChange::Kind kind, const std::string& path, const std::string& from,
                         const std::string& shadow) {
  if (is_planned()) name_changes_.push_back({kind, path, from, shadow});
}

void PowerCut::note_sync(const std::string& path) {
  struct stat now {};
  if (stat(path.c_str(), &now) != 0) return;
  if (S_ISREG(now.st_mode)) synced_sizes_[path] = now.st_size;
  const bool is_ordered = kind_ == "ordered";
  std::vector<NameChange> open;
  for (const NameChange& change : name_changes_) {
    if (!is_ordered && parent(change.path) != path) {
      open.push_back(change);
    } else if (change.kind == NameChange::kMoved) {
      // It now exists permanently: earlier changes in it must be undone at its current path.
      for (NameChange& before : open) {
        before.path = moved(before.path, change.from, change.path);
        before.from = moved(before.from, change.from, change.path);
      }
    }
  }
  name_changes_ = std::move(open);
}

void PowerCut::note_move(const std::string& from, const std::string& to) {
  std::map<std::string, off_t> sizes;
  for (const auto& [path, size] : synced_sizes_) {
    if (!is_part(path, to)) sizes[moved(path, from, to)] = size;
  }
  synced_sizes_ = std::move(sizes);
}

void PowerCut::strike() const {
  for (const auto& [path, size] : synced_sizes_) {
    struct stat now {};
    if (stat(path.c_str(), &now) == 0 && now.st_size > size) syscall(SYS_truncate, path.c_str(), size);
  }
  for (auto change = name_changes_.rbegin(); change != name_changes_.rend(); ++change) undo(*change);
}
