#include "members.h"

#include "decoding.h"
#include "files.h"
#include "tar_reader.h"

namespace casdm::dataset_images {

std::vector<std::string> read_members(const std::filesystem::path& path,
                                      const std::function<bool(const std::string& name)>& wanted,
                                      const std::function<void(Member)>& take) {
  std::vector<std::string> seen;
  if (std::filesystem::is_directory(path)) {
    for (FoundFile& file : list_files(path)) {
      seen.push_back(file.name);
      if (wanted(file.name)) take({std::move(file.name), {}, std::move(file.path)});
    }
    return seen;
  }
  read_tar(
      path,
      [&](const std::string& name) {
        seen.push_back(name);
        return wanted(name);
      },
      [&](std::string name, std::vector<std::uint8_t> bytes) {
        take({std::move(name), std::move(bytes), {}});
      });
  return seen;
}

std::vector<std::uint8_t> content_of(const Member& member) {
  return member.path.empty() ? member.bytes : read_bytes(member.path, kMaxFileBytes);
}

}  // namespace casdm::dataset_images
