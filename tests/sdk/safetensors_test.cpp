#include <ATen/ATen.h>
#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <ctime>
#include <fstream>

#include "casdm/error.h"
#include "casdm/safetensors.h"
#include "casdm/text.h"
#include "framework/support/sanitizers.h"
#include "support/components.h"

using namespace casdm;
using casdm::testing::TemporaryFolder;

namespace {

class Pair final : public Network {
 public:
  Pair() {
    a = add_parameter("a", at::ones({2}));
    b = add_buffer("b", at::ones({3}));
  }
  Tensor a;
  Tensor b;
};

std::string bytes_of_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("tensors of every dtype come back unchanged") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.safetensors";
  NamedTensors tensors;
  for (const auto type : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16, at::kLong, at::kInt, at::kShort, at::kChar,
                          at::kByte, at::kBool}) {
    tensors.emplace_back(std::string("t") + at::toString(type), at::arange(6).reshape({2, 3}).to(type));
  }
  tensors.emplace_back("strided", at::arange(6).reshape({2, 3}).t());
  tensors.emplace_back("empty", at::empty({0, 4}));
  tensors.emplace_back("scalar", at::scalar_tensor(2.5));
  write_safetensors(path, tensors, {{"source", "a \"test\""}});
  const TensorFile file = read_safetensors(path);
  CHECK(file.metadata.at("source") == "a \"test\"");
  for (const auto& [name, tensor] : tensors) CHECK_MESSAGE(at::equal(file.at(name), tensor), name);
  CHECK_THROWS_WITH_AS(file.at("tFlaot"), doctest::Contains("tFloat"), Error);
}

TEST_CASE("a file truncated at any length is refused by name and never read past its end") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.safetensors";
  write_safetensors(path, {{"a", at::arange(4)}, {"b", at::ones({3})}});
  const std::string whole = bytes_of_file(path);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    std::ofstream(path, std::ios::binary) << whole.substr(0, length);
    CHECK_THROWS_WITH_AS(read_safetensors(path), doctest::Contains(path.c_str()), Error);
  }
}

TEST_CASE("a file with any byte changed is read or refused, nothing worse") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.safetensors";
  write_safetensors(path, {{"a", at::arange(4)}, {"b", at::ones({3})}});
  const std::string whole = bytes_of_file(path);
  int refused = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const char flip : {'\x01', '\x80', '\xff'}) {
      std::string altered = whole;
      altered[at] = static_cast<char>(altered[at] ^ flip);
      std::ofstream(path, std::ios::binary) << altered;
      try {
        read_safetensors(path);
      } catch (const Error&) {
        ++refused;
      }
    }
  }
  CHECK(refused > 100);
}

TEST_CASE("headers that do not follow the format are refused by name") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.safetensors";
  const auto refusal = [&](const std::string& header, const std::string& data) {
    const std::uint64_t size = header.size();
    std::ofstream(path, std::ios::binary) << std::string(reinterpret_cast<const char*>(&size), 8) << header << data;
    try {
      read_safetensors(path);
    } catch (const Error& error) {
      CHECK(std::string(error.what()).starts_with(path.string() + " "));
      return std::string(error.what()).substr(path.string().size() + 1);
    }
    return std::string();
  };
  const std::string a = R"("a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]})";
  CHECK(refusal("{" + a + "}", "xx").empty());
  CHECK(refusal("{" + a + "}", "xxx") == "is damaged: 1 bytes follow its last tensor");
  CHECK(refusal("{" + a + R"(,"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})", "xxx") ==
        "is damaged: tensor \"b\" begins at byte 1, the one before it ends at 2");
  CHECK(refusal("{" + a + "," + a + "}", "xx") == "is damaged: its header has \"a\" twice");
  CHECK(refusal(R"({"\u001b[2J":{"dtype":"U8","shape":[2]}})", "") ==
        R"(is damaged: tensor "\x1b[2J" has no dtype, shape or data_offsets)");
  CHECK(refusal(R"({"a":{"dtype":"\u001b","shape":[2]}})", "") == R"(has a tensor of unknown dtype "\x1b")");
  CHECK(refusal(R"({"a":{"dtype":"U8","shape":[0,70368744177665,70368744177665],"data_offsets":[0,0]}})", "") ==
        "gives tensor \"a\" an impossible shape");
  for (const char* bad : {"[]", "3", "{\"a\":[]}", "{\"a\":{\"shape\":[[1]]}}", "{\"a\":{\"shape\":[-1]}}",
                          "{\"a\":{\"shape\":[1.5]}}", "{\"a\":{\"shape\":{}}}", "{\"__metadata__\":{\"a\":1}}",
                          "{\"a\":{\"more\":\"x\"}}", "{\"a\":null}", "{\"a\"", ""}) {
    CAPTURE(bad);
    CHECK(refusal(bad, "").starts_with("is damaged: "));
  }
  CHECK(refusal("\"" + std::string(1000000, 'a'), "").size() < 400);
}

TEST_CASE("a header with very many keys takes linear time") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.safetensors";
  std::map<std::string, std::string> metadata;
  for (int i = 0; i < 200000; ++i) metadata[text("key", i)] = "";
  NamedTensors tensors;
  for (int i = 0; i < 50000; ++i) tensors.emplace_back(text("t", i), at::zeros({1}, at::kByte));
  const std::clock_t start = std::clock();
  write_safetensors(path, tensors, metadata);
  const TensorFile file = read_safetensors(path);
  if (!kIsSanitized) CHECK(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC < 5);
  CHECK(file.metadata == metadata);
  CHECK(file.tensors.size() == tensors.size());
  for (int i = 200000; i < 300000; ++i) metadata[text("key", i)] = "";
  write_safetensors(path, {}, metadata);
  CHECK_THROWS_WITH_AS(read_safetensors(path), doctest::Contains("more than 262144"), Error);
}

TEST_CASE("names that the format cannot represent are refused before anything is written") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.safetensors";
  const Tensor one = at::ones({1});
  CHECK_THROWS_WITH_AS(write_safetensors(path, {{"__metadata__", one}}), doctest::Contains("is reserved by the format"),
                       Error);
  CHECK_THROWS_WITH_AS(write_safetensors(path, {{"a", one}, {"a", one}}), doctest::Contains("\"a\" comes twice"),
                       Error);
  CHECK_THROWS_WITH_AS(write_safetensors(path, {{"\xff", one}}), doctest::Contains("\"\\xff\" is not UTF-8"), Error);
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("weights in a file that is not regular are refused without blocking") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.safetensors";
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  CHECK_THROWS_WITH_AS(read_safetensors(path), doctest::Contains("is not a regular file"), Error);
  CHECK_THROWS_WITH_AS(read_safetensors("/dev/zero"), doctest::Contains("is not a regular file"), Error);
  CHECK_THROWS_WITH_AS(read_safetensors(folder.path()), doctest::Contains("is not a regular file"), Error);
}

TEST_CASE("when the disk is full the old file stays and no partial one remains") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.safetensors";
  write_safetensors(path, {{"a", at::zeros({4})}});
  const std::string before = bytes_of_file(path);
  // A limit on file sizes stands in for the full disk: write(2) fails half-way.
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  const rlimit small{1000, old.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  CHECK_THROWS_WITH_AS(write_safetensors(path, {{"a", at::zeros({4000})}}), doctest::Contains("cannot be written"),
                       Error);
  setrlimit(RLIMIT_FSIZE, &old);
  CHECK(bytes_of_file(path) == before);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), std::filesystem::directory_iterator()) == 1);
}

TEST_CASE("a state that does not fit is refused as a whole with every difference") {
  const Pair pair;
  const NamedTensors wrong = {{"a", at::zeros({5})}, {"c", at::zeros({1})}};
  CHECK_THROWS_WITH_AS(load_state(pair, wrong, "w.safetensors"), doctest::Contains("a has shape [5], expected [2]"),
                       Error);
  CHECK_THROWS_WITH_AS(load_state(pair, wrong, "w.safetensors"), doctest::Contains("missing b"), Error);
  CHECK_THROWS_WITH_AS(load_state(pair, wrong, "w.safetensors"), doctest::Contains("unexpected \"c\""), Error);
  // Whole numbers are not weights: a quantised file needs its scales.
  for (const at::ScalarType type : {at::kInt, at::kBool}) {
    const NamedTensors quantised = {{"a", at::ones({2}, type)}, {"b", at::zeros({3})}};
    CHECK_THROWS_WITH_AS(load_state(pair, quantised, "w.safetensors"), doctest::Contains(", expected Float"), Error);
  }
  CHECK(at::equal(pair.a.detach(), at::ones({2})));
  load_state(pair, {{"b", at::zeros({3}, at::kDouble)}, {"a", at::ones({2}, at::kHalf)}}, "w");
  load_state(pair, {{"b", at::zeros({3})}, {"a", at::zeros({2})}}, "w");
  CHECK(at::equal(pair.b, at::zeros({3})));
}

TEST_CASE("an empty CASDM_CACHE counts as unset") {
  const TemporaryFolder folder;
  const auto file = folder.path() / "casdm" / "weights" / "mine.safetensors";
  std::filesystem::create_directories(file.parent_path());
  write_safetensors(file, {{"a", at::zeros({1})}});
  ::setenv("XDG_CACHE_HOME", folder.path().c_str(), 1);
  ::setenv("CASDM_CACHE", "", 1);
  CHECK(find_weights("mine.safetensors") == file);
  ::setenv("CASDM_CACHE", (folder.path() / "casdm").c_str(), 1);
  ::unsetenv("XDG_CACHE_HOME");
  CHECK(find_weights("mine.safetensors") == file);
  ::unsetenv("CASDM_CACHE");
}

TEST_CASE("for missing weights the message says where it searched") {
  CHECK_THROWS_WITH_AS(find_weights("no_such.safetensors"), doctest::Contains("weights"), Error);
}
