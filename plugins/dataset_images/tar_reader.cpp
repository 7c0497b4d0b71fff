#include "tar_reader.h"

#include <archive.h>
#include <archive_entry.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <new>
#include <string_view>
#include <utility>

#include "casdm/error.h"
#include "casdm/text.h"
#include "decoding.h"

namespace casdm::dataset_images {

namespace {

constexpr std::size_t kBlock = 512;
constexpr std::size_t kReadBytes = 1 << 16;

/// The bytes of a gzip file or of a plain one; zlib distinguishes them.
class GzipStream {
 public:
  explicit GzipStream(const std::filesystem::path& path)
      : path_(path.string()), file_(gzopen(path.c_str(), "rb"), gzclose_r) {
    if (!file_) throw Error(text(path_, " cannot be read: ", std::strerror(errno)));
    gzbuffer(file_.get(), 1 << 18);
  }

  /// The next bytes, none at the end. False if they cannot be read; `check` then says why.
  bool read_block(const void** block) {
    const int got = gzread(file_.get(), block_.data(), static_cast<unsigned>(block_.size()));
    block_size_ = static_cast<std::size_t>(std::max(got, 0));
    total_ += block_size_;
    *block = block_.data();
    int code = Z_OK;
    gzerror(file_.get(), &code);
    return got >= 0 && (code == Z_OK || code == Z_STREAM_END);
  }
  std::size_t block_size() const { return block_size_; }
  std::uint64_t total() const { return total_; }

  /// Throws Error if the last read failed.
  void check() const {
    int code = Z_OK;
    const char* reason = gzerror(file_.get(), &code);
    if (code == Z_ERRNO) fail(std::strerror(errno));
    if (code == Z_BUF_ERROR) fail("it ends too early");
    if (code != Z_OK && code != Z_STREAM_END) fail(reason);
  }

  [[noreturn]] void fail(std::string_view reason) const {
    throw Error(text(path_, " cannot be read as a tar archive: ", reason));
  }

 private:
  std::string path_;
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file_;
  std::vector<std::uint8_t> block_ = std::vector<std::uint8_t>(kReadBytes);
  std::size_t block_size_ = 0;
  std::uint64_t total_ = 0;
};

/// libarchive's reader of tar archives.
using Archive = std::unique_ptr<archive, int (*)(archive*)>;

Archive make_archive() {
  Archive reader(archive_read_new(), archive_read_free);
  if (!reader) throw std::bad_alloc();
  archive_read_support_format_tar(reader.get());
  return reader;
}

/// libarchive's description of what is wrong.
/// @param unlike  what to say about a file that does not begin like an archive; null after the first member
std::string reason_of(archive* reader, const char* unlike) {
  const char* said = archive_error_string(reader);
  const std::string reason = said != nullptr ? said : "it is damaged";
  if (reason.find("runcated") != std::string::npos) return "it ends too early";
  return unlike != nullptr ? unlike : text("it is damaged: ", reason);
}

std::string name_of(archive_entry* entry) {
  const char* name = archive_entry_pathname_utf8(entry);
  if (name == nullptr) name = archive_entry_pathname(entry);
  return name != nullptr ? name : "";
}

/// The next member that is not a folder; null after the last.
archive_entry* next_member(archive* reader, const char*& unlike, const std::function<void(std::string)>& fail) {
  archive_entry* entry = nullptr;
  while (true) {
    const int code = archive_read_next_header(reader, &entry);
    if (code == ARCHIVE_EOF) return nullptr;
    if (code != ARCHIVE_OK && code != ARCHIVE_WARN) fail(reason_of(reader, unlike));
    unlike = nullptr;
    if (archive_entry_filetype(entry) != AE_IFDIR || archive_entry_hardlink(entry) != nullptr) return entry;
  }
}

/// The compression that the file's first bytes are the mark of; empty: none that is known.
std::string compression_of(const std::filesystem::path& path) {
  constexpr std::pair<std::string_view, const char*> kMarks[] = {{"\x1f\x8b", "gzip"},
                                                                 {"BZh", "bzip2"},
                                                                 {"\xfd"
                                                                  "7zXZ",
                                                                  "xz"},
                                                                 {"\x28\xb5\x2f\xfd", "zstd"}};
  std::string first(6, '\0');
  std::ifstream(path, std::ios::binary).read(first.data(), static_cast<std::streamsize>(first.size()));
  for (const auto& [mark, name] : kMarks) {
    if (first.starts_with(mark)) return name;
  }
  return "";
}

/// Why a member has no content of its own; empty: it has content.
std::string problem_of(archive_entry* entry) {
  const bool is_link = archive_entry_hardlink(entry) != nullptr || archive_entry_filetype(entry) == AE_IFLNK;
  if (is_link) return "is a link, which has no content";
  return archive_entry_filetype(entry) == AE_IFREG ? "" : "is a member that is not a file";
}

/// What is wrong with the end of an archive whose last member ends at `end`, where two blocks of zeros mark its end;
/// empty: nothing.
std::string problem_of_end(const std::filesystem::path& path, std::uint64_t end) {
  std::ifstream file(path, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(end - std::min<std::uint64_t>(end, kBlock)));
  std::vector<char> bytes(kReadBytes);
  const auto is_zero = [](char byte) { return byte == 0; };
  std::size_t before = std::min<std::uint64_t>(end, kBlock);
  while (file) {
    file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    const auto got = bytes.begin() + file.gcount();
    const auto first = std::find_if_not(bytes.begin(), got, is_zero);
    if (first == got) {
      before = 0;
      continue;
    }
    if (first - bytes.begin() < static_cast<std::ptrdiff_t>(before))
      return "it ends too early: it has no mark of its end";
    return "another archive follows its end, which would not be read; join archives by tar --concatenate";
  }
  return "";
}

}  // namespace

void read_tar(const std::filesystem::path& path, const std::function<bool(const std::string& name)>& wanted,
              const std::function<void(std::string name, std::vector<std::uint8_t> content)>& receive) {
  GzipStream stream(path);
  const auto fail = [&](const std::string& reason) {
    stream.check();
    stream.fail(stream.total() < kBlock ? "it is too short to be one" : reason);
  };
  const Archive reader = make_archive();
  const auto read_block = [](archive* reader, void* source, const void** block) -> la_ssize_t {
    auto& stream = *static_cast<GzipStream*>(source);
    return stream.read_block(block) ? static_cast<la_ssize_t>(stream.block_size())
                                    : (archive_set_error(reader, EIO, "unreadable"), la_ssize_t{-1});
  };
  const char* unlike = "it is not one, plain or gzipped";
  if (archive_read_open(reader.get(), &stream, nullptr, read_block, nullptr) != ARCHIVE_OK) {
    fail(reason_of(reader.get(), unlike));
  }
  while (archive_entry* entry = next_member(reader.get(), unlike, fail)) {
    std::string name = name_of(entry);
    if (!wanted(name)) continue;
    const std::string problem = problem_of(entry);
    if (!problem.empty()) {
      fail(text(name, " ", problem, "; make the archive again, with tar --dereference and --hard-dereference"));
    }
    const auto size = static_cast<std::uint64_t>(archive_entry_size(entry));
    if (size > kMaxFileBytes) fail(text("a member claims ", size, " bytes; the limit is ", kMaxFileBytes));
    std::vector<std::uint8_t> content(size);
    const la_ssize_t got = archive_read_data(reader.get(), content.data(), content.size());
    if (got != static_cast<la_ssize_t>(size)) {
      fail(got < 0 ? reason_of(reader.get(), nullptr) : "it ends too early");
    }
    receive(std::move(name), std::move(content));
  }
  for (const void* rest = nullptr; stream.read_block(&rest) && stream.block_size() > 0;) {
  }  // reads to the end, where gzip's checksum is
  stream.check();
}

std::vector<TarMember> index_tar(const std::filesystem::path& path) {
  const auto fail = [&](const std::string& reason) {
    throw Error(text(path.string(), " cannot be read as a tar archive: ", reason));
  };
  const std::string compression = compression_of(path);
  if (!compression.empty()) {
    fail(text("it is compressed (", compression,
              "), so single images cannot be reached; unpack it to plain .tar, by gunzip or the like"));
  }
  const Archive reader = make_archive();
  const char* unlike = "it is not one";
  if (archive_read_open_filename(reader.get(), path.c_str(), kReadBytes) != ARCHIVE_OK) {
    fail(reason_of(reader.get(), unlike));
  }
  const std::uintmax_t size = std::filesystem::file_size(path);
  std::vector<TarMember> members;
  while (archive_entry* entry = next_member(reader.get(), unlike, fail)) {
    TarMember member{name_of(entry), static_cast<std::uint64_t>(archive_filter_bytes(reader.get(), 0)),
                     static_cast<std::uint64_t>(archive_entry_size(entry))};
    const std::string problem = archive_entry_sparse_count(entry) > 0 ? "is sparse" : problem_of(entry);
    if (!problem.empty()) fail(text(member.name, " ", problem));
    if (member.offset > size || member.size > size - member.offset) fail("it ends too early");
    members.push_back(std::move(member));
  }
  const std::string problem = problem_of_end(path, static_cast<std::uint64_t>(archive_filter_bytes(reader.get(), 0)));
  if (!problem.empty()) fail(problem);
  return members;
}

}  // namespace casdm::dataset_images
