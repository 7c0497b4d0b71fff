#include "members.h"

#include "decoding.h"
#include "tar_reader.h"

namespace casdm::dataset_images {

SomeNames read_members(const std::filesystem::path& path, const std::function<bool(const std::string& name)>& wanted,
                       const std::function<void(Member)>& take) {
  SomeNames seen;
  if (std::filesystem::is_directory(path)) {
    for (FoundFile& file : list_files(path)) {
      seen.add(file.name);
      if (wanted(file.name)) take({std::move(file.name), {}, std::move(file.path)});
    }
    return seen;
  }
  read_tar(
      path,
      [&](const std::string& name) {
        seen.add(name);
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
