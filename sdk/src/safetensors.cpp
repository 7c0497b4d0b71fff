#include "casdm/safetensors.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "casdm/user_folder.h"
#include "safetensors_header.h"

namespace casdm {

namespace {

constexpr std::uint64_t kMaxHeader = 100'000'000;  // the format's own limit
constexpr std::size_t kMostShown = 12;             // differences in a message

/// A regular file with random access. Never blocks on a pipe or device. Throws Error without the file's name.
class InputFile {
 public:
  explicit InputFile(const std::filesystem::path& path)
      : descriptor_(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)) {
    if (descriptor_ < 0) throw Error(text("cannot be read: ", std::strerror(errno)));
    struct stat status {};
    if (::fstat(descriptor_, &status) == 0 && S_ISREG(status.st_mode)) {
      size_ = static_cast<std::uint64_t>(status.st_size);
      return;
    }
    ::close(descriptor_);
    throw Error("is not a regular file");
  }
  ~InputFile() { ::close(descriptor_); }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  std::uint64_t size() const { return size_; }

  void read(void* to, std::uint64_t count, std::uint64_t at) const {
    for (char* next = static_cast<char*>(to); count > 0;) {
      const ssize_t got = ::pread(descriptor_, next, count, static_cast<off_t>(at));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw Error(text("cannot be read: ", std::strerror(errno)));
      if (got == 0) throw Error("became shorter while it was read");
      next += got;
      at += static_cast<std::uint64_t>(got);
      count -= static_cast<std::uint64_t>(got);
    }
  }

 private:
  int descriptor_;
  std::uint64_t size_ = 0;
};

TensorFile read_file(const InputFile& file) {
  std::uint64_t header_size = 0;
  if (file.size() < sizeof(header_size)) throw Error("is truncated: it has no header");
  file.read(&header_size, sizeof(header_size), 0);
  const std::uint64_t rest = file.size() - sizeof(header_size);
  if (header_size > kMaxHeader || header_size > rest) throw Error("is truncated, or not a safetensors file");
  std::string json(header_size, ' ');
  file.read(json.data(), header_size, sizeof(header_size));
  TensorHeader header = read_tensor_header(json, rest - header_size);
  TensorFile result;
  result.metadata = std::move(header.metadata);
  for (TensorEntry& entry : header.entries) {
    Tensor tensor = at::empty(entry.shape, entry.type);
    file.read(tensor.data_ptr(), entry.end - entry.begin, sizeof(header_size) + header_size + entry.begin);
    result.tensors.emplace_back(std::move(entry.name), std::move(tensor));
  }
  return result;
}

}  // namespace

bool TensorFile::contains(std::string_view name) const {
  return std::any_of(tensors.begin(), tensors.end(), [&](const auto& item) { return item.first == name; });
}

const Tensor& TensorFile::at(std::string_view name) const {
  for (const auto& [known, tensor] : tensors) {
    if (known == name) return tensor;
  }
  std::vector<std::string> names;
  for (const auto& [known, tensor] : tensors) names.push_back(known);
  std::vector<std::string> near = nearest(name, names);
  for (std::string& candidate : near) candidate = quoted(candidate);
  throw Error(text("there is no tensor ", quoted(name), near.empty() ? "" : "; nearest: ", join(near, ", ")));
}

TensorFile read_safetensors(const std::filesystem::path& path) {
  try {
    return read_file(InputFile(path));
  } catch (const Error& error) {
    throw Error(text(path.string(), " ", error.what()));
  }
}

void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::string header;
  try {
    header = write_tensor_header(tensors, metadata);
  } catch (const Error& error) {
    throw Error(text(path.string(), " ", error.what()));
  }
  header.resize((header.size() + 7) / 8 * 8, ' ');

  AtomicFile file(path);
  const std::uint64_t header_size = header.size();
  file.write(&header_size, sizeof(header_size));
  file.write(header);
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
    } else if (found->second->is_floating_point() != tensor.is_floating_point()) {
      // The numbers in a quantised file are meaningless without its scales.
      problems.push_back(text(name, " is ", at::toString(found->second->scalar_type()), ", expected ",
                              at::toString(tensor.scalar_type())));
    }
  }
  std::map<std::string, bool> wanted;
  for (const auto& [name, tensor] : target) wanted[name] = true;
  for (const auto& [name, tensor] : tensors) {
    if (!wanted.contains(name)) problems.push_back(text("unexpected ", quoted(name)));
  }
  if (!problems.empty()) {
    const std::size_t count = problems.size();
    if (count > kMostShown) problems.resize(kMostShown);
    throw ConfigError(text(
        source, " does not fit the network; nothing was loaded. ", count, count == 1 ? " difference" : " differences",
        count > kMostShown ? text(" (the first ", kMostShown, ")") : "", ":\n  ", join(problems, "\n  ")));
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
  if (const char* own = std::getenv("CASDM_CACHE"); own != nullptr && *own != '\0') {
    folders.push_back(text(own, "/weights"));
  } else if (const auto cache = user_folder(UserFolder::cache)) {
    folders.push_back((*cache / "weights").string());
  }
  for (const std::string& folder : folders) {
    const fs::path candidate = fs::path(folder) / name;
    if (fs::is_regular_file(candidate)) return candidate;
  }
  throw Error(text(
      "there is no weights file ", quoted(name), "; looked in ", join(folders, ", "),
      ". tools/setup.sh makes those of ST-LPIPS and EfficientNet-Lite; docs/weights.md says how to make the others"));
}

}  // namespace casdm
