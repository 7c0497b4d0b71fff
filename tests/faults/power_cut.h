#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

/// A name that changed after its folder was last synced.
struct NameChange {
  enum Kind { kMade, kMoved, kRemoved, kFolderMade, kFolderRemoved } kind;
  std::string path, from, shadow;  ///< shadow: a link to what `path` held before
};

/// Keeps account of what a power failure would undo: files shrink to what was synced, and names go back to their last
/// synced state. As "ordered", any fsync keeps every earlier name, as on ext4 and XFS; as "strict", only an fsync of
/// their own folder does. Calls none of the functions that the library replaces, so its own work does not count.
class PowerCut {
 public:
  PowerCut() = default;  ///< none is planned, and no account of names is kept

  /// @param kind           "ordered" or "strict"; empty: none is planned
  /// @param shadow_folder  keeps earlier files; on the same disk
  PowerCut(std::string kind, std::string shadow_folder);

  bool is_planned() const { return !kind_.empty(); }

  /// Links what `path` holds into the shadow folder, since a call is about to replace or remove it. Returns the link;
  /// empty if there is none.
  /// @param call  a number, for its name
  std::string keep(const std::string& path, long call) const;

  void note_name(NameChange::Kind kind, const std::string& path, const std::string& from = "",
                 const std::string& shadow = "");

  /// `size` bytes of the file `path` are on the disk.
  void note_size(const std::string& path, off_t size) { synced_sizes_[path] = size; }

  /// The same, if nothing is known of the file yet.
  void note_first_size(const std::string& path, off_t size) { synced_sizes_.emplace(path, size); }

  void note_sync(const std::string& path);

  /// A path was moved: the information about it and its contents moves with it.
  void note_move(const std::string& from, const std::string& to);

  /// Undoes what was not synced.
  void strike() const;

 private:
  std::string kind_, shadow_folder_;
  std::map<std::string, off_t> synced_sizes_;
  std::vector<NameChange> name_changes_;
};
