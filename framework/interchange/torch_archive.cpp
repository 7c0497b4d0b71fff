#include "framework/interchange/torch_archive.h"

#include <ATen/ops/empty.h>
#include <zip.h>

#include <fstream>
#include <map>
#include <sstream>
#include <vector>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kMagic("\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 13);  // LONG1, 10 bytes, STOP
constexpr std::size_t kMagicWithin = 32;  // protocol and frame precede it
constexpr std::uint64_t kMaxPickle = std::uint64_t{1} << 26;
constexpr std::int64_t kProtocol = 1001;

[[noreturn]] void fail_big_endian() {
  throw Error("was written on a big-endian machine; save it again on a little-endian one");
}

/// An empty tensor for the storage. Throws Error if the file, of `available` bytes, is too small for it.
at::Tensor room_for(const PickledStorage& storage, std::uint64_t available) {
  const auto width = static_cast<std::uint64_t>(at::elementSize(storage.type));
  if (static_cast<std::uint64_t>(storage.size) > available / width) {
    throw Error(text("is truncated: storage ", quoted(storage.key), " has ", storage.size, " elements of ", width,
                     " bytes, and ", available, " bytes are there"));
  }
  return at::empty({storage.size}, storage.type);
}

class ZipArchive final : public TorchArchive {
 public:
  explicit ZipArchive(const fs::path& path) : archive_(nullptr, zip_discard) {
    int code = 0;
    archive_.reset(zip_open(path.c_str(), ZIP_RDONLY, &code));
    if (!archive_) {
      zip_error_t error;
      zip_error_init_with_code(&error, code);
      const std::string reason = zip_error_strerror(&error);
      zip_error_fini(&error);
      throw Error(text("is truncated or damaged: ", reason));
    }
    root_ = find_root();
    if (contains("constants.pkl")) throw Error("is a TorchScript archive, which holds code; save a state_dict");
    if (contains("byteorder") && read("byteorder", 16) != "little") fail_big_endian();
    const std::string content = read("data.pkl", kMaxPickle);
    std::istringstream stream(content);
    PickleSource source(stream, content.size());
    pickle_ = std::make_unique<Pickle>(source);
  }

  std::string format() const override { return "PyTorch zip"; }
  const Pickle& pickle() const override { return *pickle_; }

  at::Tensor load(const PickledStorage& storage) override {
    const std::string name = "data/" + storage.key;
    const std::uint64_t size = size_of(name);
    at::Tensor result = room_for(storage, size);
    if (result.nbytes() != size) {
      throw Error(text("is damaged: ", quoted(name), " has ", size, " bytes, its pickle says ", result.nbytes()));
    }
    fill(name, static_cast<char*>(result.data_ptr()), size);
    return result;
  }

 private:
  std::string find_root() const {
    const zip_int64_t count = zip_get_num_entries(archive_.get(), 0);
    for (zip_int64_t i = 0; i < count; ++i) {
      const char* name = zip_get_name(archive_.get(), static_cast<zip_uint64_t>(i), ZIP_FL_ENC_GUESS);
      const std::string_view view = name != nullptr ? name : "";
      if (view.ends_with("/data.pkl")) return std::string(view.substr(0, view.size() - 8));
    }
    throw Error("is a zip archive, but not of torch.save: it has no data.pkl");
  }

  bool contains(const std::string& name) const {
    return zip_name_locate(archive_.get(), (root_ + name).c_str(), 0) >= 0;
  }

  std::uint64_t size_of(const std::string& name) const {
    zip_stat_t status;
    if (zip_stat(archive_.get(), (root_ + name).c_str(), 0, &status) != 0 || (status.valid & ZIP_STAT_SIZE) == 0) {
      throw Error(text("is damaged: it has no ", quoted(name)));
    }
    if ((status.valid & ZIP_STAT_COMP_METHOD) != 0 && status.comp_method != ZIP_CM_STORE) {
      throw Error(text("is damaged: ", quoted(name), " is compressed, which torch.save never does"));
    }
    return status.size;
  }

  std::string read(const std::string& name, std::uint64_t most) const {
    const std::uint64_t size = size_of(name);
    if (size > most)
      throw Error(text("is damaged: ", quoted(name), " has ", size, " bytes; at most ", most, " are read"));
    std::string content(size, '\0');
    fill(name, content.data(), size);
    return content;
  }

  /// Reads to the end, which makes libzip check the checksum.
  void fill(const std::string& name, char* to, std::uint64_t size) const {
    const std::unique_ptr<zip_file_t, int (*)(zip_file_t*)> file(zip_fopen(archive_.get(), (root_ + name).c_str(), 0),
                                                                 zip_fclose);
    if (!file) throw Error(text("is damaged: ", quoted(name), ": ", zip_strerror(archive_.get())));
    std::uint64_t filled = 0;
    char beyond = 0;
    while (true) {
      const bool is_full = filled == size;
      const zip_int64_t got = zip_fread(file.get(), is_full ? &beyond : to + filled, is_full ? 1 : size - filled);
      if (got < 0) throw Error(text("is damaged: ", quoted(name), ": ", zip_file_strerror(file.get())));
      if (is_full ? got > 0 : got == 0)
        throw Error(text("is damaged: ", quoted(name), " does not have the length that it records"));
      if (is_full) return;
      filled += static_cast<std::uint64_t>(got);
    }
  }

  std::unique_ptr<zip_t, void (*)(zip_t*)> archive_;
  std::string root_;
  std::unique_ptr<Pickle> pickle_;
};

class LegacyArchive final : public TorchArchive {
 public:
  explicit LegacyArchive(const fs::path& path) : file_(path, std::ios::binary), size_(fs::file_size(path)) {
    std::string start(std::min<std::uint64_t>(size_, kMagicWithin + kMagic.size()), '\0');
    file_.read(start.data(), static_cast<std::streamsize>(start.size()));
    const std::size_t magic = start.find(kMagic);
    if (magic == std::string::npos) throw Error("does not have the magic number of torch.save");
    file_.seekg(static_cast<std::streamoff>(magic + kMagic.size()));
    PickleSource source(file_, size_ - magic - kMagic.size());
    check_protocol(Pickle(source));
    check_machine(Pickle(source));
    pickle_ = std::make_unique<Pickle>(source);
    index_storages(Pickle(source), source);
  }

  std::string format() const override { return "PyTorch legacy (before 1.6)"; }
  const Pickle& pickle() const override { return *pickle_; }

  at::Tensor load(const PickledStorage& storage) override {
    const auto begin = begins_.find(storage.key);
    if (begin == begins_.end()) throw Error(text("is damaged: it has no storage ", quoted(storage.key)));
    at::Tensor result = room_for(storage, size_ - begin->second);
    file_.clear();
    file_.seekg(static_cast<std::streamoff>(begin->second));
    if (!file_.read(static_cast<char*>(result.data_ptr()), static_cast<std::streamsize>(result.nbytes()))) {
      throw Error(text("cannot be read at storage ", quoted(storage.key)));
    }
    return result;
  }

 private:
  static void check_protocol(const Pickle& pickle) {
    const auto* protocol = pickle.root().as<std::int64_t>();
    if (protocol == nullptr || *protocol != kProtocol) {
      throw Error(text("has protocol ", describe(pickle.root()), ", not ", kProtocol));
    }
  }

  static void check_machine(const Pickle& pickle) {
    const auto* machine = pickle.root().as<PickledDict>();
    if (machine == nullptr) throw Error("is damaged: it does not record its machine");
    for (const auto& [key, value] : machine->items) {
      const auto* name = key->as<std::string>();
      if (name == nullptr || *name != "little_endian") continue;
      const auto* is_little = value->as<bool>();
      if (is_little == nullptr) throw Error("is damaged: its byte order is neither True nor False");
      if (!*is_little) fail_big_endian();
      return;
    }
    throw Error("is damaged: it does not record its byte order");
  }

  /// Records where each storage's elements begin.
  void index_storages(const Pickle& keys, const PickleSource& source) {
    std::uint64_t at = size_ - source.left();
    for (const PickledNode* node : items_of(keys.root(), "the keys of storages")) {
      const std::string& key = string_of(*node, "a storage's key");
      const auto storage = pickle_->storages().find(key);
      if (storage == pickle_->storages().end())
        throw Error(text("is damaged: no tensor uses its storage ", quoted(key)));
      std::uint64_t count = 0;
      file_.seekg(static_cast<std::streamoff>(at));
      if (size_ - at < 8 || !file_.read(reinterpret_cast<char*>(&count), 8)) {
        throw Error(text("is truncated before storage ", quoted(key)));
      }
      at += 8;
      if (count != static_cast<std::uint64_t>(storage->second.size)) {
        throw Error(text("is damaged: storage ", quoted(key), " has ", count, " elements, its pickle says ",
                         storage->second.size));
      }
      const auto width = static_cast<std::uint64_t>(at::elementSize(storage->second.type));
      if (count > (size_ - at) / width) throw Error(text("is truncated in storage ", quoted(key)));
      begins_[key] = at;
      at += count * width;
    }
  }

  std::ifstream file_;
  std::uint64_t size_;
  std::unique_ptr<Pickle> pickle_;
  std::map<std::string, std::uint64_t> begins_;
};

}  // namespace

TorchFormat torch_format(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string start(kMagicWithin + kMagic.size(), '\0');
  file.read(start.data(), static_cast<std::streamsize>(start.size()));
  start.resize(static_cast<std::size_t>(file.gcount()));
  if (start.starts_with("PK\x03\x04")) return TorchFormat::zip;
  return start.find(kMagic) != std::string::npos ? TorchFormat::legacy : TorchFormat::none;
}

std::unique_ptr<TorchArchive> open_torch_zip(const fs::path& path) { return std::make_unique<ZipArchive>(path); }

std::unique_ptr<TorchArchive> open_torch_legacy(const fs::path& path) { return std::make_unique<LegacyArchive>(path); }

}  // namespace casdm
