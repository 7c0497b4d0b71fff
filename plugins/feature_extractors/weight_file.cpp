#include "weight_file.h"

#include <openssl/evp.h>

#include <fstream>
#include <memory>
#include <vector>

#include "casdm/error.h"
#include "casdm/hex.h"
#include "casdm/text.h"

namespace casdm::feature_extractors {

namespace {

std::string sha256_of(const std::filesystem::path& path) {
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context{EVP_MD_CTX_new(), EVP_MD_CTX_free};
  EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
  std::ifstream file(path, std::ios::binary);
  std::vector<char> buffer(1 << 20);
  while (file.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) || file.gcount() > 0) {
    EVP_DigestUpdate(context.get(), buffer.data(), static_cast<std::size_t>(file.gcount()));
  }
  if (!file.eof()) throw Error(text(path.string(), " cannot be read to its end"));
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_DigestFinal_ex(context.get(), digest, &size);
  return hexadecimal(digest, size);
}

}  // namespace

WeightFile read_weights(const std::string& name, const std::string& command) {
  std::filesystem::path path;
  try {
    path = find_weights(name);
  } catch (const Error& error) {
    throw Error(text(error.what(), ": python3 tools/convert_weights.py ", command));
  }
  return {path, read_safetensors(path), sha256_of(path)};
}

}  // namespace casdm::feature_extractors
