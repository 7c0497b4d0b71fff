#include "framework/support/files.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <vector>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/support/sha256.h"

namespace casdm {

std::string sha256(std::string_view content) {
  Sha256 hash;
  hash.update(content);
  return hash.hexadecimal();
}

std::string sha256_of_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(text(path.string(), " cannot be read: ", std::strerror(errno)));
  Sha256 hash;
  std::vector<char> buffer(1 << 20);
  while (file.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) || file.gcount() > 0) {
    hash.update({buffer.data(), static_cast<std::size_t>(file.gcount())});
  }
  if (file.bad()) throw Error(text(path.string(), " cannot be read to its end"));
  return hash.hexadecimal();
}

void write_file(const std::filesystem::path& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  if (file) content << file.rdbuf();
  if (!file) throw Error(text(path.string(), " cannot be read: ", std::strerror(errno)));
  return content.str();
}

}  // namespace casdm
