#include "files.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm::dataset_images {

namespace fs = std::filesystem;

namespace {

FileVersion version_in(const struct stat& status) {
  return {status.st_ino, status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec};
}

using NamedPaths = std::vector<std::pair<std::string, fs::path>>;

/// The contents of a folder, at any depth.
struct Found {
  std::vector<FoundFile> files;
  std::vector<std::pair<std::string, std::string>> unusable;  ///< names and reasons
  std::set<fs::path> folders;                                 ///< that were read, without links in their paths
  NamedPaths links;                                           ///< to folders, not followed yet
};

std::string problem_of(const fs::directory_entry& entry) {
  if (!entry.is_symlink() || entry.exists()) return "is neither a file nor a folder; remove it";
  return text("is a link to ", fs::read_symlink(entry.path()).string(),
              ", which does not exist; mount or restore it, or remove the link");
}

/// Reads a folder and those below, unless it was read already, since links can lead to one folder in many ways.
void collect(const fs::path& folder, const std::string& prefix, Found& found) {
  if (!found.folders.insert(fs::canonical(folder)).second) return;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with('.')) continue;
    if (entry.is_directory()) {
      if (entry.is_symlink()) {
        found.links.emplace_back(prefix + name, entry.path());
      } else {
        collect(entry.path(), prefix + name + "/", found);
      }
    } else if (entry.is_regular_file()) {
      found.files.push_back({prefix + name, entry.path()});
    } else {
      found.unusable.emplace_back(prefix + name, problem_of(entry));
    }
  }
}

/// A folder is named by its own place if that is below, else by the first of the links to it.
Found contents_at_any_depth(const fs::path& folder) {
  Found found;
  collect(folder, "", found);
  while (!found.links.empty()) {
    NamedPaths links = std::exchange(found.links, {});
    std::sort(links.begin(), links.end());
    for (const auto& [name, path] : links) collect(path, name + "/", found);
  }
  return found;
}

[[noreturn]] void fail_unusable(const fs::path& folder, std::vector<std::pair<std::string, std::string>> unusable) {
  std::sort(unusable.begin(), unusable.end());
  const auto& [name, problem] = unusable.front();
  std::vector<std::string> others;
  for (std::size_t i = 1; i < unusable.size(); ++i) others.push_back(unusable[i].first);
  throw Error(text(folder.string(), ": ", name, " ", problem,
                   others.empty() ? "" : text("; nor can these be read: ", some_of(others))));
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code failure;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, failure)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with('.')) names.push_back(name + (entry.is_directory(failure) ? "/" : ""));
  }
  return names;
}

}  // namespace

void require_exists(const fs::path& path, const std::string& what) {
  std::error_code failure;
  const fs::file_status status = fs::status(path, failure);
  if (fs::is_regular_file(status) || fs::is_directory(status)) return;
  if (fs::exists(status)) {
    throw ConfigError(text("path = '", path.string(), "': expected ", what,
                           ", got something that is neither a file nor a folder, such as a pipe or a device"));
  }
  if (failure && failure != std::errc::no_such_file_or_directory && failure != std::errc::not_a_directory) {
    throw ConfigError(text("path = '", path.string(), "': ", failure.message()));
  }
  fs::path existing = fs::absolute(path, failure).parent_path();
  while (!fs::is_directory(existing, failure) && existing.has_relative_path()) existing = existing.parent_path();
  const std::vector<std::string> close = nearest(path.filename().string(), names_in(existing), 1);
  throw ConfigError(text("path = '", path.string(), "': expected ", what, ", but there is no such file or folder. ",
                         existing.string(), " holds ", contents_of(existing),
                         close.empty() ? "" : text("; did you mean ", close.front(), "?")));
}

std::vector<FoundFile> list_files(const fs::path& folder) {
  Found found;
  try {
    found = contents_at_any_depth(folder);
  } catch (const fs::filesystem_error& error) {
    throw Error(text(error.path1().string(), " cannot be read: ", error.code().message()));
  }
  if (!found.unusable.empty()) fail_unusable(folder, std::move(found.unusable));
  std::sort(found.files.begin(), found.files.end(),
            [](const FoundFile& a, const FoundFile& b) { return a.name < b.name; });
  return std::move(found.files);
}

std::string_view file_name(std::string_view name) { return name.substr(name.rfind('/') + 1); }

bool is_hidden(std::string_view name) {
  if (name.starts_with("__MACOSX/")) return true;
  while (!name.empty()) {
    const std::string_view part = name.substr(0, name.find('/'));
    if (part.starts_with('.') && part != "." && part != "..") return true;
    name.remove_prefix(std::min(part.size() + 1, name.size()));
  }
  return false;
}

void SomeNames::add(const std::string& name) {
  constexpr std::size_t most = 6;
  ++count_;
  if (first_.size() == most && name >= *first_.rbegin()) return;
  first_.insert(name);
  if (first_.size() > most) first_.erase(std::prev(first_.end()));
}

std::string SomeNames::shown() const {
  constexpr std::size_t longest = 200;
  if (count_ == 0) return "nothing";
  std::vector<std::string> names(first_.begin(), first_.end());
  for (std::string& name : names) {
    if (name.size() > longest) name = name.substr(0, longest) + "...";
    std::replace(name.begin(), name.end(), '\n', ' ');  // a name must not begin a line of a message
  }
  const std::uint64_t rest = count_ - first_.size();
  return join(names, ", ") + (rest > 0 ? text(" and ", rest, " more") : "");
}

std::string some_of(const std::vector<std::string>& names) {
  SomeNames some;
  for (const std::string& name : names) some.add(name);
  return some.shown();
}

std::string contents_of(const fs::path& folder) { return some_of(names_in(folder)); }

std::string left_out_files(const std::vector<std::string>& names) {
  constexpr std::size_t most = 5;
  if (names.empty()) return {};
  std::map<std::string, std::size_t> counts;
  for (const std::string& name : names) {
    const std::string ending = fs::path(name).extension().string();
    ++counts[ending.empty() ? "without ending" : ending];
  }
  std::vector<std::pair<std::size_t, std::string>> order;
  order.reserve(counts.size());
  for (const auto& [ending, count] : counts) order.emplace_back(count, ending);
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<std::string> endings;
  endings.reserve(order.size());
  for (const auto& [count, ending] : order) endings.push_back(endings.size() < most ? ending : "...");
  if (endings.size() > most) endings.resize(most + 1);
  const auto labels =
      std::find_if(names.begin(), names.end(), [](const auto& n) { return n.ends_with("/dataset.json"); });
  return text(names.size(), names.size() == 1 ? " other file" : " other files", " left out (", join(endings, ", "), ")",
              labels == names.end()
                  ? ""
                  : text("; ", quoted(*labels), " too: labels are read from a dataset.json that is in no folder"));
}

std::vector<std::uint8_t> read_bytes(const fs::path& path, std::uint64_t limit) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::error_code failure;
  const std::uintmax_t size = fs::file_size(path, failure);
  if (!file || failure)
    throw Error(text(path.string(), " cannot be read: ", failure ? failure.message() : std::strerror(errno)));
  if (size > limit) throw Error(text(path.string(), " has ", size, " bytes; the limit is ", limit));
  std::vector<std::uint8_t> bytes(size);
  if (!file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size))) {
    throw Error(text(path.string(), " cannot be read to its end"));
  }
  return bytes;
}

void fail_twice(const fs::path& archive, const std::string& name) {
  throw Error(text(archive.string(), " holds ", name, " twice, and readers differ in which of the two they use; make ",
                   "the archive again, with different names"));
}

FileVersion version_of(int file, const std::string& name) {
  struct stat status {};
  if (::fstat(file, &status) != 0) throw Error(text(name, " cannot be read: ", std::strerror(errno)));
  return version_in(status);
}

FileVersion version_of(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) throw Error(text(path.string(), " cannot be read: ", std::strerror(errno)));
  return version_in(status);
}

void fail_changed(const std::string& name) {
  throw Error(text(name, " was changed by another program since it was opened; let nothing write to it while it is ",
                   "read, or read a copy"));
}

void require_channels(std::int64_t channels) {
  if (channels != 1 && channels != 3) {
    throw ConfigError(text("channels = ", channels, ": expected 3 (RGB) or 1 (grey)"));
  }
}

}  // namespace casdm::dataset_images
