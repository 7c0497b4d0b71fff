#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

/// Files of torch.save made by hand, byte by byte, also such as torch.save would never write.
namespace casdm::testing {

/// A little-endian number of sizeof(T) bytes.
template <class T>
std::string packed(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

/// Parts of a pickle, protocol 2.
namespace pickled {

inline std::string whole(const std::string& value) { return "\x80\x02" + value + "."; }
inline std::string integer(std::int32_t value) { return "J" + packed(value); }
inline std::string word(const std::string& value) {
  return "X" + packed(static_cast<std::uint32_t>(value.size())) + value;
}
inline std::string name(const std::string& module, const std::string& word) {
  return "c" + module + "\n" + word + "\n";
}
inline std::string tuple(const std::vector<std::string>& items) {
  std::string result = "(";
  for (const std::string& item : items) result += item;
  return result + "t";
}
inline std::string integers(const std::vector<std::int32_t>& values) {
  std::vector<std::string> items;
  for (const std::int32_t value : values) items.push_back(integer(value));
  return tuple(items);
}
inline std::string dict(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string result = "}(";
  for (const auto& [key, value] : items) result += word(key) + value;
  return result + "u";
}
inline std::string call(const std::string& callee, const std::vector<std::string>& arguments) {
  return callee + tuple(arguments) + "R";
}
inline std::string storage(const std::string& key, std::int32_t size, const std::string& type = "FloatStorage",
                           const std::vector<std::string>& view = {}) {
  std::vector<std::string> id = {word("storage"), name("torch", type), word(key), word("cpu"), integer(size)};
  id.insert(id.end(), view.begin(), view.end());
  return tuple(id) + "Q";
}
inline std::string tensor(const std::string& storage, std::int32_t offset, const std::vector<std::int32_t>& sizes,
                          const std::vector<std::int32_t>& strides) {
  const std::string hooks = name("collections", "OrderedDict") + ")R";
  return call(name("torch._utils", "_rebuild_tensor_v2"),
              {storage, integer(offset), integers(sizes), integers(strides), "\x89", hooks});
}

}  // namespace pickled

/// A storage of float32 numbers.
struct Numbers {
  std::string key;
  std::vector<float> values;
};

/// The legacy format around the pickle of one object.
inline std::string legacy_file(const std::string& object, const std::vector<Numbers>& storages,
                               const std::string& little_endian = "\x88") {
  using namespace pickled;
  std::string result = std::string("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
  result += whole("M" + packed(std::uint16_t{1001}));
  result += whole(dict({{"protocol_version", integer(1001)}, {"little_endian", little_endian}}));
  result += whole(object);
  std::string keys = "](";
  for (const Numbers& storage : storages) keys += word(storage.key);
  result += whole(keys + "e");
  for (const Numbers& storage : storages) {
    result += packed(static_cast<std::uint64_t>(storage.values.size()));
    for (const float value : storage.values) result += packed(value);
  }
  return result;
}

inline std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::filesystem::path write_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

}  // namespace casdm::testing
