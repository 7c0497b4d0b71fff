#include "casdm/safetensors.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::pair<const char*, at::ScalarType> kTypes[] = {
    {"F64", at::kDouble}, {"F32", at::kFloat}, {"F16", at::kHalf}, {"BF16", at::kBFloat16}, {"I64", at::kLong},
    {"I32", at::kInt},    {"I16", at::kShort}, {"I8", at::kChar},  {"U8", at::kByte},       {"BOOL", at::kBool}};

constexpr std::uint64_t kMaxHeader = 100'000'000;  // the format's own limit

at::ScalarType type_named(const std::string& name) {
  for (const auto& [known, type] : kTypes) {
    if (name == known) return type;
  }
  throw Error(text("has a tensor of unknown dtype '", name, "'"));
}

std::string name_of(at::ScalarType type) {
  for (const auto& [known, candidate] : kTypes) {
    if (type == candidate) return known;
  }
  throw Error(text("safetensors cannot hold dtype ", at::toString(type)));
}

struct Entry {
  std::string name;
  at::ScalarType type;
  std::vector<std::int64_t> shape;
  std::uint64_t begin;
  std::uint64_t end;
};

/// The header's tensors by offset; throws Error (without the path) when they do not fit `size`.
std::vector<Entry> entries_of(const Json& header, std::uint64_t size) {
  std::vector<Entry> entries;
  for (const auto& [name, item] : header.items()) {
    if (name == "__metadata__") continue;
    Entry entry{name, type_named(item.at("dtype").get<std::string>()),
                item.at("shape").get<std::vector<std::int64_t>>(), item.at("data_offsets").at(0).get<std::uint64_t>(),
                item.at("data_offsets").at(1).get<std::uint64_t>()};
    std::uint64_t bytes = at::elementSize(entry.type);
    for (const std::int64_t extent : entry.shape) {
      if (extent < 0 || (extent > 0 && bytes > (std::uint64_t{1} << 46) / static_cast<std::uint64_t>(extent))) {
        throw Error(text("gives tensor '", name, "' an impossible shape"));
      }
      bytes *= static_cast<std::uint64_t>(extent);
    }
    if (entry.end > size)
      throw Error(text("is truncated: tensor '", name, "' ends ", entry.end - size, " bytes past its end"));
    if (entry.begin > entry.end || entry.end - entry.begin != bytes) {
      throw Error(text("is damaged: shape and offsets of tensor '", name, "' disagree"));
    }
    entries.push_back(std::move(entry));
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.begin < b.begin; });
  return entries;
}

TensorFile read_file(std::ifstream& file, std::uint64_t file_size) {
  std::uint64_t header_size = 0;
  if (file_size < 8 || !file.read(reinterpret_cast<char*>(&header_size), 8))
    throw Error("is truncated: it has no header");
  if (header_size > kMaxHeader || header_size > file_size - 8) throw Error("is truncated, or no safetensors file");
  std::string text_of_header(header_size, ' ');
  file.read(text_of_header.data(), static_cast<std::streamsize>(header_size));
  const Json header = Json::parse(text_of_header);
  TensorFile result;
  if (header.contains("__metadata__")) {
    result.metadata = header.at("__metadata__").get<std::map<std::string, std::string>>();
  }
  const std::uint64_t start = 8 + header_size;
  for (const Entry& entry : entries_of(header, file_size - start)) {
    Tensor tensor = at::empty(entry.shape, entry.type);
    file.seekg(static_cast<std::streamoff>(start + entry.begin));
    if (!file.read(static_cast<char*>(tensor.data_ptr()), static_cast<std::streamsize>(entry.end - entry.begin))) {
      throw Error(text("cannot be read at tensor '", entry.name, "'"));
    }
    result.tensors.emplace_back(entry.name, std::move(tensor));
  }
  return result;
}

}  // namespace

bool TensorFile::contains(std::string_view name) const {
  return std::any_of(tensors.begin(), tensors.end(), [&](const auto& item) { return item.first == name; });
}

const Tensor& TensorFile::at(std::string_view name) const {
  std::vector<std::string> names;
  for (const auto& [known, tensor] : tensors) {
    if (known == name) return tensor;
    names.push_back(known);
  }
  throw Error(text("there is no tensor '", name, "'; nearest: ", join(nearest(name, names), ", ")));
}

TensorFile read_safetensors(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::error_code failure;
  const std::uintmax_t size = std::filesystem::file_size(path, failure);
  if (!file || failure)
    throw Error(text(path.string(), " cannot be read: ", failure ? failure.message() : std::strerror(errno)));
  try {
    return read_file(file, size);
  } catch (const Json::exception& error) {
    throw Error(text(path.string(), " is damaged: its header is no JSON of the format (", error.what(), ")"));
  } catch (const Error& error) {
    throw Error(text(path.string(), " ", error.what()));
  }
}

void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    const std::uint64_t end = offset + tensor.nbytes();
    header[name] = {
        {"dtype", name_of(tensor.scalar_type())}, {"shape", tensor.sizes().vec()}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text_of_header = header.dump();
  text_of_header.resize((text_of_header.size() + 7) / 8 * 8, ' ');

  AtomicFile file(path);
  const std::uint64_t header_size = text_of_header.size();
  file.write(&header_size, sizeof(header_size));
  file.write(text_of_header);
  for (const auto& [name, tensor] : tensors) {
    const Tensor flat = tensor.detach().to(at::kCPU).contiguous();
    file.write(flat.data_ptr(), flat.nbytes());
  }
  file.commit();
}

void load_state(const Module& module, const NamedTensors& tensors, std::string_view source) {
  const NamedTensors target = state(module);
  std::vector<std::string> problems;
  std::map<std::string, const Tensor*> given;
  for (const auto& [name, tensor] : tensors) given[name] = &tensor;
  for (const auto& [name, tensor] : target) {
    const auto found = given.find(name);
    if (found == given.end()) {
      problems.push_back(text("missing ", name));
    } else if (found->second->sizes() != tensor.sizes()) {
      problems.push_back(text(name, " has shape ", found->second->sizes(), ", expected ", tensor.sizes()));
    }
  }
  std::map<std::string, bool> wanted;
  for (const auto& [name, tensor] : target) wanted[name] = true;
  for (const auto& [name, tensor] : tensors) {
    if (!wanted.contains(name)) problems.push_back(text("unexpected ", name));
  }
  if (!problems.empty()) {
    const std::size_t count = problems.size();
    if (count > 12) problems.resize(12);
    throw Error(text(source, " does not fit the network; nothing was loaded. ", count, " differences",
                     count > 12 ? " (the first 12)" : "", ":\n  ", join(problems, "\n  ")));
  }
  at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : target) Tensor(tensor).copy_(*given.at(name));
}

std::filesystem::path find_weights(const std::string& name) {
  namespace fs = std::filesystem;
  if (fs::is_regular_file(name)) return name;
  std::vector<std::string> folders;
  if (const char* path = std::getenv("CASDM_WEIGHTS_PATH")) {
    std::istringstream parts(path);
    for (std::string part; std::getline(parts, part, ':');) {
      if (!part.empty()) folders.push_back(part);
    }
  }
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  if (const char* own = std::getenv("CASDM_CACHE")) {
    folders.push_back(text(own, "/weights"));
  } else if (cache != nullptr && *cache != '\0') {
    folders.push_back(text(cache, "/casdm/weights"));
  } else if (home != nullptr) {
    folders.push_back(text(home, "/.cache/casdm/weights"));
  }
  for (const std::string& folder : folders) {
    const fs::path candidate = fs::path(folder) / name;
    if (fs::is_regular_file(candidate)) return candidate;
  }
  throw Error(text("there is no weights file '", name, "'; looked in ", join(folders, ", "),
                   ". tools/setup.sh makes the ST-LPIPS weights; docs/weights.md says how to make the others"));
}

}  // namespace casdm
