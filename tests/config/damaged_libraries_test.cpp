// A damaged library must never crash the program, or give anything but a clear refusal.
#include <doctest/doctest.h>
#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <ctime>
#include <fstream>
#include <iostream>
#include <random>
#include <sstream>

#include "casdm/elf_note.h"
#include "casdm/plugin_description.h"
#include "casdm/text.h"
#include "framework/commands/commands.h"
#include "framework/loading/note_summary.h"
#include "framework/support/sanitizers.h"
#include "support.h"

using namespace casdm;

namespace {

std::string fixture() {
  std::ostringstream content;
  content << std::ifstream(CASDM_FIXTURE, std::ios::binary).rdbuf();
  return content.str();
}

enum class Outcome { description, no_note, refused };

/// Reads from memory of exactly this size, so that a sanitizer detects any read beyond it.
Outcome read(const std::string& bytes) {
  const std::vector<unsigned char> exact(bytes.begin(), bytes.end());
  try {
    const auto note = read_elf_note(exact.data(), exact.size(), "library");
    if (!note) return Outcome::no_note;
    PluginDescription description = description_from_json(note->json);
    for (ComponentEntry& component : description.components) component.options.clear();
    CHECK(to_json(summary_from_json(note->json)) == to_json(description));
    return Outcome::description;
  } catch (const PluginError& error) {
    CHECK(std::strlen(error.what()) > 0);
    return Outcome::refused;
  }
}

template <class T>
void append(std::string& bytes, const T& value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

/// A library of `segments`, whose offsets count from the end of the headers, and `content`.
std::string library(std::vector<Elf64_Phdr> segments, const std::string& content) {
  std::string bytes = fixture().substr(0, sizeof(Elf64_Ehdr));
  Elf64_Ehdr header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  header.e_phoff = sizeof(header);
  header.e_phnum = static_cast<Elf64_Half>(segments.size());
  std::memcpy(bytes.data(), &header, sizeof(header));
  const std::size_t headers = sizeof(header) + segments.size() * sizeof(Elf64_Phdr);
  for (Elf64_Phdr& segment : segments) {
    segment.p_offset += headers;
    append(bytes, segment);
  }
  return bytes + content;
}

Elf64_Phdr segment(Elf64_Word type, std::size_t size) {
  Elf64_Phdr result{};
  result.p_type = type;
  result.p_filesz = size;
  result.p_align = 4;
  return result;
}

std::string note(const std::string& json) {
  std::string bytes;
  append(bytes, Elf64_Nhdr{sizeof("casdm"), static_cast<Elf64_Word>(json.size() + 8), kNoteType});
  bytes.append("casdm\0\0\0", 8);
  append(bytes, kNoteLayout);
  append(bytes, static_cast<std::uint32_t>(json.size()));
  return bytes + json + std::string((4 - json.size() % 4) % 4, '\0');
}

std::string repeated(const std::string& text, std::size_t count) {
  std::string result;
  for (std::size_t i = 0; i < count; ++i) result += text;
  return result;
}

/// Runs `work` in its own process. Returns whether it succeeded, without a sanitizer also within 2 s of processor time
/// and 500 MB of memory.
template <class Work>
bool is_cheap(const std::string& what, Work work) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::alarm(60);
    int status = 0;
    try {
      const int null = ::open("/dev/null", O_WRONLY);
      ::dup2(null, STDOUT_FILENO);
      ::dup2(null, STDERR_FILENO);
      work();
    } catch (const std::exception&) {
      status = 1;
    }
    std::cout.flush();
    ::_exit(status);
  }
  int status = 0;
  rusage used{};
  REQUIRE(::wait4(child, &status, 0, &used) == child);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  const double total = seconds(used.ru_utime) + seconds(used.ru_stime);
  const std::int64_t kilobytes = used.ru_maxrss;
  MESSAGE(what << ": " << total << " s of processor time, " << kilobytes / 1000 << " MB");
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 && (kIsSanitized || (total < 2 && kilobytes < 500000));
}

/// A file that claims `size` bytes but only contains `content`.
void write_sparse(const std::filesystem::path& path, const std::string& content, std::uintmax_t size) {
  std::ofstream(path, std::ios::binary) << content;
  std::filesystem::resize_file(path, size);
}

}  // namespace

TEST_CASE("a library truncated at any length is refused") {
  const std::string whole = fixture();
  REQUIRE(read(whole) == Outcome::description);
  for (std::size_t length = 0; length < whole.size(); length += length < 6000 ? 1 : 997) {
    const Outcome outcome = read(whole.substr(0, length));
    CAPTURE(length);
    // The note is near the beginning; once it is complete, the rest is not read.
    if (outcome == Outcome::description) break;
    REQUIRE(outcome == Outcome::refused);
  }
}

TEST_CASE("a library with flipped bits gives a description, no note, or a refusal") {
  const std::string whole = fixture();
  REQUIRE(whole.size() > 4096);
  const std::size_t note = whole.find("casdm\0"), front = 64 + 56 * 12;
  std::mt19937 random(7);
  int refused = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string bytes = whole.substr(0, std::min(whole.size(), note + 8192));
    for (unsigned flips = random() % 6 + 1; flips > 0; --flips) {
      const std::size_t at = random() % 2 == 0 ? random() % front : note - 16 + random() % 4096;
      if (at < bytes.size()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
    }
    refused += read(bytes) == Outcome::refused;
  }
  CHECK(refused > 1000);
}

TEST_CASE("program headers and notes of extreme sizes are refused") {
  const std::string whole = fixture();
  REQUIRE(whole.size() > 4096);
  for (const std::uint64_t value : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{0x7fffffff}, ~std::uint64_t{0},
                                    ~std::uint64_t{7}, std::uint64_t{1} << 63}) {
    for (std::size_t at = 16; at < 64 + 56 * 12; at += 4) {
      std::string bytes = whole;
      std::memcpy(bytes.data() + at, &value, sizeof(value));
      read(bytes);
    }
  }
}

TEST_CASE("a library that claims too much is refused immediately") {
  const auto is_refused_at_once = [](const std::string& bytes) {
    const std::clock_t start = std::clock();
    try {
      const auto found = read_elf_note(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), "library");
      if (found) summary_from_json(found->json);
      return false;
    } catch (const PluginError&) {
    }
    return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC < 1;
  };
  // Sixty thousand segments of notes, all over the same megabytes.
  const std::string small_notes(8 << 20, '\0');
  CHECK(is_refused_at_once(library(std::vector(60000, segment(PT_NOTE, small_notes.size())), small_notes)));
  // Notes of many megabytes, and of many keys that never end.
  for (const std::string& json :
       {repeated("[", 64 << 20), repeated("{\"a\":", 10 << 20), repeated("\"options\":[", 80000)}) {
    const std::string bytes = note(json);
    CHECK(is_refused_at_once(library({segment(PT_NOTE, bytes.size())}, bytes)));
  }
  // Each of a million needed libraries has a name of a megabyte.
  std::string dynamic;
  for (int i = 0; i < 1000000; ++i) append(dynamic, Elf64_Dyn{DT_NEEDED, {0}});
  const std::string good = note("{}");
  Elf64_Phdr strings = segment(PT_LOAD, 1 << 20);
  std::string bytes = good + repeated("a", 1 << 20) + dynamic;
  Elf64_Phdr table = segment(PT_DYNAMIC, dynamic.size());
  table.p_offset = good.size() + (1 << 20);
  CHECK(is_refused_at_once(library({segment(PT_NOTE, good.size()), strings, table}, bytes)));
}

TEST_CASE("listing libraries from anybody takes at most 2 s and 500 MB") {
  const casdm::testing::TemporaryFolder folder;
  namespace fs = std::filesystem;
  ::setenv("XDG_DATA_HOME", (folder.path() / "data").c_str(), 1);
  ::setenv("XDG_STATE_HOME", (folder.path() / "state").c_str(), 1);
  ::unsetenv("CASDM_PLUGIN_PATH");
  const std::string whole = fixture();
  const auto in = [&](const std::string& name) {
    fs::create_directories(folder.path() / name);
    return folder.path() / name;
  };
  constexpr std::uintmax_t kTerabyte = std::uintmax_t{1} << 40;
  write_sparse(in("huge") / "plugin.so", whole, kTerabyte);
  write_sparse(in("huge") / "headers.so", whole.substr(0, 4096), kTerabyte);
  write_sparse(in("huge") / "notes.so", library({segment(PT_NOTE, kTerabyte / 2)}, note("{}")), kTerabyte);
  write_sparse(in("huge") / "empty.so", "", kTerabyte);
  const fs::path one = folder.write("one.so", whole);
  // Many names of one file, all with the same id; and beside them more files than are ever read.
  for (int i = 0; i < 3000; ++i) fs::create_hard_link(one, in("many") / text(i, ".so"));
  // Notes cut anywhere, and notes of a megabyte that nearly end.
  for (int i = 0; i < 300; ++i) {
    const std::size_t length = whole.size() * static_cast<std::size_t>(i) / 300;
    folder.write(text("cut/", i, ".so"), whole.substr(0, length));
  }
  const std::string head = "{\"id\":\"a\",\"components\":[";
  for (const std::string& json : {repeated("[", 1000000), head + repeated("{\"options\":[{\"doc\":\"", 40000),
                                  head + repeated("{\"kind\":\"a\"},", 60000) + "{}]}"}) {
    const std::string bytes = note(json);
    const fs::path file = folder.write("large.so", library({segment(PT_NOTE, bytes.size())}, bytes));
    for (int i = 0; i < 1500; ++i) fs::create_hard_link(file, in("large") / text(json.size(), "-", i, ".so"));
    fs::remove(file);
  }
  // Entries that are not files.
  ::mkfifo((in("others") / "pipe.so").c_str(), 0600);
  fs::create_symlink("/dev/zero", in("others") / "zero.so");
  fs::create_symlink("loop.so", in("others") / "loop.so");
  fs::create_directory(in("others") / "folder.so");

  std::string every = "[plugins]\npaths = [";
  for (const std::string name : {"huge", "many", "cut", "large", "others"}) {
    CHECK(is_cheap("list " + name, [&] { plugins_command({"list", "--plugin", name}); }));
    CHECK(is_cheap("list --json " + name, [&] { plugins_command({"list", "--json", "--plugin", name}); }));
    every += text("'", name, "', ");
  }
  folder.write("x.toml", every + "]\n" + casdm::testing::kSmallExperiment);
  CHECK(is_cheap("paths of an experiment", [] { plugins_command({"list", "--config", "x.toml"}); }));
  CHECK(is_cheap("check of an experiment", [] {
    try {
      config_command({"check", "x.toml"});
    } catch (const ConfigError&) {
    }
  }));
}
