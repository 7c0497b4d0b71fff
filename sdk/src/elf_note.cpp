#include "casdm/elf_note.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "casdm/error.h"
#include "casdm/hex.h"
#include "casdm/text.h"

namespace casdm {

namespace {

/// More than any honest plugin has, so that only little of a file is read, whatever its header says.
constexpr std::uint64_t kMostNoteBytes = std::uint64_t{1} << 20;  ///< in all note segments together
constexpr std::size_t kMostNeeded = 1000;
constexpr std::uint64_t kMostDynamicEntries = 10000;
constexpr std::uint64_t kLongestName = 4096;

/// A file's bytes; every read is checked against their end.
class Bytes {
 public:
  Bytes(const unsigned char* data, std::size_t size, const std::string& name) : data_(data), size_(size), name_(name) {}

  template <class T>
  T read(std::uint64_t offset) const {
    T value;
    std::memcpy(&value, span(offset, sizeof(T)), sizeof(T));
    return value;
  }

  const unsigned char* span(std::uint64_t offset, std::uint64_t length) const {
    if (offset > size_ || length > size_ - offset) fail("is truncated");
    return data_ + offset;
  }

  [[noreturn]] void fail(std::string_view what) const { throw PluginError(text(name_, " ", what)); }

 private:
  const unsigned char* data_;
  std::uint64_t size_;
  const std::string& name_;
};

std::uint64_t aligned(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

constexpr Elf64_Half native_machine() {
#if defined(__aarch64__)
  return EM_AARCH64;
#else
  return EM_X86_64;
#endif
}

void read_segment(const Bytes& bytes, const Elf64_Phdr& segment, ElfNote& note, bool& found) {
  const std::uint64_t alignment = segment.p_align == 8 ? 8 : 4;
  bytes.span(segment.p_offset, segment.p_filesz);
  std::uint64_t at = 0;
  while (at + sizeof(Elf64_Nhdr) <= segment.p_filesz) {
    const auto header = bytes.read<Elf64_Nhdr>(segment.p_offset + at);
    const std::uint64_t name_at = at + sizeof(Elf64_Nhdr);
    const std::uint64_t content_at = aligned(name_at + header.n_namesz, alignment);
    const std::uint64_t next = aligned(content_at + header.n_descsz, alignment);
    if (content_at + header.n_descsz > segment.p_filesz) bytes.fail("has a note that reaches past its segment");
    const auto* name = bytes.span(segment.p_offset + name_at, header.n_namesz);
    const auto* content = bytes.span(segment.p_offset + content_at, header.n_descsz);
    const auto is_named = [&](std::string_view expected) {
      return header.n_namesz == expected.size() + 1 && std::memcmp(name, expected.data(), expected.size() + 1) == 0;
    };
    if (is_named("GNU") && header.n_type == NT_GNU_BUILD_ID) note.build_id = hexadecimal(content, header.n_descsz);
    if (is_named(kNoteName) && header.n_type == kNoteType) {
      if (found) bytes.fail("has two casdm notes");
      if (header.n_descsz < 8) bytes.fail("has a casdm note that is too short");
      const auto layout = bytes.read<std::uint32_t>(segment.p_offset + content_at);
      if (layout != kNoteLayout) {
        bytes.fail(text("has a casdm note of layout ", layout, "; this host reads layout ", kNoteLayout));
      }
      const auto length = bytes.read<std::uint32_t>(segment.p_offset + content_at + 4);
      if (length > header.n_descsz - 8) bytes.fail("has a casdm note that is cut short");
      note.json.assign(reinterpret_cast<const char*>(content) + 8, length);
      found = true;
    }
    at = next;
  }
}

/// The file offset of the address `address` in the loaded library.
std::uint64_t offset_of(const Bytes& bytes, const std::vector<Elf64_Phdr>& segments, std::uint64_t address) {
  for (const Elf64_Phdr& segment : segments) {
    if (segment.p_type != PT_LOAD || address < segment.p_vaddr || address - segment.p_vaddr >= segment.p_filesz)
      continue;
    return segment.p_offset + (address - segment.p_vaddr);
  }
  bytes.fail("has a dynamic section that points outside of the file");
}

std::string c_string(const Bytes& bytes, std::uint64_t offset, std::uint64_t end) {
  std::string result;
  for (end = std::min(end, offset + kLongestName); offset < end; ++offset) {
    const auto c = bytes.read<char>(offset);
    if (c == '\0') return result;
    result += c;
  }
  bytes.fail("has a string that is cut short");
}

/// The DT_NEEDED entries of the library.
std::vector<std::string> needed_libraries(const Bytes& bytes, const std::vector<Elf64_Phdr>& segments) {
  std::vector<std::uint64_t> names;
  std::uint64_t strings = 0;
  std::uint64_t strings_size = 0;
  std::uint64_t entries = 0;
  for (const Elf64_Phdr& segment : segments) {
    if (segment.p_type != PT_DYNAMIC) continue;
    for (std::uint64_t at = 0; at + sizeof(Elf64_Dyn) <= segment.p_filesz; at += sizeof(Elf64_Dyn)) {
      const auto entry = bytes.read<Elf64_Dyn>(segment.p_offset + at);
      if (entry.d_tag == DT_NULL) break;
      if (++entries > kMostDynamicEntries) bytes.fail("has a dynamic section that is too long");
      if (entry.d_tag == DT_NEEDED) names.push_back(entry.d_un.d_val);
      if (names.size() > kMostNeeded) bytes.fail("needs too many libraries");
      if (entry.d_tag == DT_STRTAB) strings = entry.d_un.d_ptr;
      if (entry.d_tag == DT_STRSZ) strings_size = entry.d_un.d_val;
    }
  }
  std::vector<std::string> result;
  if (names.empty()) return result;
  const std::uint64_t table = offset_of(bytes, segments, strings);
  bytes.span(table, strings_size);
  for (const std::uint64_t name : names) {
    if (name >= strings_size) bytes.fail("has a string that is cut short");
    result.push_back(c_string(bytes, table + name, table + strings_size));
  }
  return result;
}

/// The program headers, after checking that this is a shared library for this machine.
std::vector<Elf64_Phdr> program_headers(const Bytes& bytes, const unsigned char* data, std::size_t size) {
  if (size < SELFMAG || std::memcmp(data, ELFMAG, SELFMAG) != 0) bytes.fail("is not a shared library (no ELF header)");
  const auto header = bytes.read<Elf64_Ehdr>(0);
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_type != ET_DYN) {
    bytes.fail("is not a 64-bit little-endian shared library");
  }
  if (header.e_machine != native_machine()) bytes.fail("is built for another machine");
  if (header.e_phentsize != sizeof(Elf64_Phdr)) bytes.fail("has program headers of an unknown size");
  std::vector<Elf64_Phdr> segments;
  for (std::uint64_t i = 0; i < header.e_phnum; ++i) {
    segments.push_back(bytes.read<Elf64_Phdr>(header.e_phoff + i * sizeof(Elf64_Phdr)));
  }
  return segments;
}

/// A file mapped into memory while this object lives.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path) {
    const std::string name = path.string();
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) throw PluginError(text(name, " cannot be read: ", std::strerror(errno)));
    struct stat status {};
    const bool is_file = ::fstat(file, &status) == 0 && S_ISREG(status.st_mode);
    size_ = is_file ? static_cast<std::size_t>(status.st_size) : 0;
    data_ = size_ > 0 ? ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0) : MAP_FAILED;
    ::close(file);
    if (data_ == MAP_FAILED)
      throw PluginError(text(name, is_file && size_ == 0 ? " is empty" : " is not a regular file"));
  }
  ~MappedFile() { ::munmap(data_, size_); }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const unsigned char* data() const { return static_cast<const unsigned char*>(data_); }
  std::size_t size() const { return size_; }

 private:
  void* data_ = MAP_FAILED;
  std::size_t size_ = 0;
};

}  // namespace

std::optional<ElfNote> read_elf_note(const unsigned char* data, std::size_t size, const std::string& name) {
  const Bytes bytes(data, size, name);
  const std::vector<Elf64_Phdr> segments = program_headers(bytes, data, size);
  ElfNote note;
  bool found = false;
  std::uint64_t note_bytes = 0;
  for (const Elf64_Phdr& segment : segments) {
    if (segment.p_type != PT_NOTE) continue;
    note_bytes += std::min(segment.p_filesz, kMostNoteBytes + 1);
    if (note_bytes > kMostNoteBytes) bytes.fail(text("has notes of more than ", kMostNoteBytes, " bytes"));
    read_segment(bytes, segment, note, found);
  }
  if (!found) return std::nullopt;
  note.needed = needed_libraries(bytes, segments);
  return note;
}

std::optional<ElfNote> read_elf_note(const std::filesystem::path& path) {
  const MappedFile file(path);
  return read_elf_note(file.data(), file.size(), path.string());
}

std::vector<std::string> read_needed(const std::filesystem::path& path) {
  const MappedFile file(path);
  const std::string name = path.string();
  const Bytes bytes(file.data(), file.size(), name);
  return needed_libraries(bytes, program_headers(bytes, file.data(), file.size()));
}

}  // namespace casdm
