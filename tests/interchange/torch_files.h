#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

/// Files of torch.save made by hand, byte by byte, including some that torch.save would never write.
namespace casdm::testing {

/// Parts of a pickle, protocol 2.
namespace pickled {

std::string whole(const std::string& value);
std::string integer(std::int32_t value);
std::string word(const std::string& value);
std::string name(const std::string& module, const std::string& word);
std::string tuple(const std::vector<std::string>& items);
std::string integers(const std::vector<std::int32_t>& values);
std::string dict(const std::vector<std::pair<std::string, std::string>>& items);
std::string call(const std::string& callee, const std::vector<std::string>& arguments);
/// @param view  the sixth part in files before PyTorch 0.4
std::string storage(const std::string& key, std::int32_t size, const std::string& type = "FloatStorage",
                    const std::vector<std::string>& view = {});
std::string tensor(const std::string& storage, std::int32_t offset, const std::vector<std::int32_t>& sizes,
                   const std::vector<std::int32_t>& strides);

}  // namespace pickled

/// A storage of float32 numbers.
struct Numbers {
  std::string key;
  std::vector<float> values;
};

/// The legacy format around the pickle of one object.
std::string legacy_file(const std::string& object, const std::vector<Numbers>& storages,
                        const std::string& little_endian = "\x88");

std::string content_of(const std::filesystem::path& path);
std::filesystem::path write_bytes(const std::filesystem::path& path, const std::string& bytes);

}  // namespace casdm::testing
