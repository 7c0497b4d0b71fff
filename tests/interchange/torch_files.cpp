#include "interchange/torch_files.h"

#include <cstring>
#include <fstream>

namespace casdm::testing {

namespace {

/// A little-endian number of sizeof(T) bytes.
template <class T>
std::string packed(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string result;
  for (const std::string& part : parts) result.append(part);
  return result;
}

}  // namespace

namespace pickled {

std::string whole(const std::string& value) { return joined({"\x80\x02", value, "."}); }

std::string integer(std::int32_t value) { return joined({"J", packed(value)}); }

std::string word(const std::string& value) {
  return joined({"X", packed(static_cast<std::uint32_t>(value.size())), value});
}

std::string name(const std::string& module, const std::string& word) { return joined({"c", module, "\n", word, "\n"}); }

std::string tuple(const std::vector<std::string>& items) { return joined({"(", joined(items), "t"}); }

std::string integers(const std::vector<std::int32_t>& values) {
  std::vector<std::string> items;
  for (const std::int32_t value : values) items.push_back(integer(value));
  return tuple(items);
}

std::string dict(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string result = "}(";
  for (const auto& [key, value] : items) result.append(word(key)).append(value);
  return result.append("u");
}

std::string call(const std::string& callee, const std::vector<std::string>& arguments) {
  return joined({callee, tuple(arguments), "R"});
}

std::string storage(const std::string& key, std::int32_t size, const std::string& type,
                    const std::vector<std::string>& view) {
  std::vector<std::string> id = {word("storage"), name("torch", type), word(key), word("cpu"), integer(size)};
  id.insert(id.end(), view.begin(), view.end());
  return joined({tuple(id), "Q"});
}

std::string tensor(const std::string& storage, std::int32_t offset, const std::vector<std::int32_t>& sizes,
                   const std::vector<std::int32_t>& strides) {
  const std::string hooks = joined({name("collections", "OrderedDict"), ")R"});
  return call(name("torch._utils", "_rebuild_tensor_v2"),
              {storage, integer(offset), integers(sizes), integers(strides), "\x89", hooks});
}

}  // namespace pickled

std::string legacy_file(const std::string& object, const std::vector<Numbers>& storages,
                        const std::string& little_endian) {
  using namespace pickled;
  std::string result("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
  result.append(whole(joined({"M", packed(std::uint16_t{1001})})));
  result.append(whole(dict({{"protocol_version", integer(1001)}, {"little_endian", little_endian}})));
  result.append(whole(object));
  std::string keys = "](";
  for (const Numbers& storage : storages) keys.append(word(storage.key));
  result.append(whole(keys.append("e")));
  for (const Numbers& storage : storages) {
    result.append(packed(static_cast<std::uint64_t>(storage.values.size())));
    for (const float value : storage.values) result.append(packed(value));
  }
  return result;
}

std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::filesystem::path write_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

}  // namespace casdm::testing
