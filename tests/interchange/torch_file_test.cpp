#include <ATen/ATen.h>
#include <doctest/doctest.h>
#include <zip.h>

#include <map>

#include "casdm/error.h"
#include "framework/interchange/torch_file.h"
#include "interchange/torch_files.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
using namespace casdm::testing::pickled;
namespace fs = std::filesystem;

namespace {

fs::path fixture(const std::string& name) { return source_dir() / "tests" / "interchange" / "files" / name; }

/// What make_files.py saved.
NamedTensors expected_state() {
  const Tensor whole = at::arange(24, at::kFloat).reshape({4, 6});
  const Tensor quarters = at::arange(5, at::kFloat) / 4;
  return {{"whole", whole},
          {"transposed", whole.t()},
          {"part", whole.slice(0, 1, 3).slice(1, 0, 6, 2)},
          {"half", quarters.to(at::kHalf)},
          {"bfloat16", quarters.to(at::kBFloat16)},
          {"double", at::arange(3, at::kDouble) / 3},
          {"long", at::arange(-2, 2, at::kLong)},
          {"bool", at::arange(1, -1, -1).to(at::kBool)},
          {"scalar", at::scalar_tensor(2.5F)},
          {"empty", at::empty({0, 4})},
          {"parameter", at::ones({2})}};
}

/// Reads a legacy file around `object` with the storage "0" of 1, 2, ..., 6.
TorchState read_object(const std::string& object, const std::vector<Numbers>& storages = {{"0", {1, 2, 3, 4, 5, 6}}},
                       const std::string& key = "") {
  const TemporaryFolder folder;
  return read_torch_state(write_bytes(folder.path() / "made.pt", legacy_file(object, storages)), key);
}

std::string six() { return storage("0", 6); }
std::string good() { return tensor(six(), 0, {6}, {1}); }

/// A copy of zip.pt with one entry replaced or, without content, removed.
fs::path altered_zip(const fs::path& folder, const std::string& entry, const std::string& content,
                     bool compress = false) {
  const fs::path path = folder / "altered.pt";
  fs::copy_file(fixture("zip.pt"), path, fs::copy_options::overwrite_existing);
  zip_t* archive = zip_open(path.c_str(), 0, nullptr);
  REQUIRE(archive != nullptr);
  zip_source_t* source = zip_source_buffer(archive, content.data(), content.size(), 0);
  const zip_int64_t at = zip_file_add(archive, ("zip/" + entry).c_str(), source, ZIP_FL_OVERWRITE);
  REQUIRE(at >= 0);
  zip_set_file_compression(archive, static_cast<zip_uint64_t>(at), compress ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0);
  REQUIRE(zip_close(archive) == 0);
  return path;
}

/// Every truncation of a file must be refused with its name; a file with any byte altered must be read or refused.
/// Returns how many were refused.
int attack(const std::string& whole, int step) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "x.pt";
  for (std::size_t length = 0; length < whole.size(); length += static_cast<std::size_t>(step)) {
    write_bytes(path, whole.substr(0, length));
    CHECK_THROWS_WITH_AS(read_torch_state(path), doctest::Contains(path.c_str()), Error);
  }
  int refused = 0;
  for (std::size_t at = 0; at < whole.size(); at += static_cast<std::size_t>(step)) {
    for (const char flip : {'\x01', '\x10', '\x80', '\xff'}) {
      std::string altered = whole;
      altered[at] = static_cast<char>(altered[at] ^ flip);
      write_bytes(path, altered);
      try {
        for (const auto& [name, tensor] : read_torch_state(path).tensors) tensor.sum();
      } catch (const Error& error) {
        CHECK(std::string(error.what()).starts_with(path.string()));
        ++refused;
      }
    }
  }
  return refused;
}

}  // namespace

TEST_CASE("both formats of torch.save give the tensors that PyTorch saved, including strided and shared ones") {
  for (const auto& [file, format] :
       {std::pair("zip.pt", "PyTorch zip"), std::pair("legacy.pt", "PyTorch legacy (before 1.6)")}) {
    CAPTURE(file);
    const TorchState state = read_torch_state(fixture(file));
    CHECK(state.format == format);
    const NamedTensors expected = expected_state();
    REQUIRE(state.tensors.size() == expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const auto& [name, tensor] = state.tensors[i];
      CHECK(name == expected[i].first);
      CHECK(tensor.dtype() == expected[i].second.dtype());
      CHECK_MESSAGE(at::equal(tensor, expected[i].second), name);
    }
  }
}

TEST_CASE("of several states in a file one is chosen by its key path") {
  CHECK_THROWS_WITH_AS(
      read_torch_state(fixture("nested.pt")),
      doctest::Contains("several states; choose with --key: \"model\" (7 tensors), \"ema.net\" (7 tensors)"), Error);
  CHECK_THROWS_WITH_AS(read_torch_state(fixture("nested.pt"), "emma"), doctest::Contains("no state \"emma\""), Error);
  const TorchState state = read_torch_state(fixture("nested.pt"), "ema.net");
  CHECK(state.key == "ema.net");
  CHECK(state.tensors.front().first == "0.weight");
  // A single one needs no key.
  CHECK(read_object(dict({{"step", integer(3)}, {"model", dict({{"a", good()}})}})).key == "model");
}

TEST_CASE("tensors beside something else are not passed over for a state further inside") {
  const std::string state = dict({{"a", good()}}), step = integer(3);
  const auto refused = [](const std::string& object, const std::string& key, const char* message) {
    CHECK_THROWS_WITH_AS(read_object(object, {{"0", {1, 2, 3, 4, 5, 6}}}, key), doctest::Contains(message),
                         ConfigError);
  };
  // torch.nn.Module.get_extra_state, and an optimizer beside the weights.
  const std::string extra = dict({{"w", good()}, {"_extra_state", state}});
  refused(extra, "", "its top level holds tensors and \"_extra_state\", which is a dict; choose with --key: ");
  CHECK(read_object(extra, {{"0", {1, 2, 3, 4, 5, 6}}}, "_extra_state").tensors.size() == 1);
  const std::string mixed = dict({{"model", dict({{"w", good()}, {"step", step}})}, {"ema", state}});
  refused(mixed, "", "\"model\" holds tensors and \"step\", which is");
  refused(mixed, "model", "cannot be read as weights: \"model\" holds tensors and \"step\"");
  refused(dict({{"w", good()}, {"step", step}}), "", "save the tensors alone, as in torch.save(");
  // A number is no weight.
  CHECK(read_object(dict({{"loss", tensor(six(), 0, {}, {})}, {"model", state}})).key == "model");
}

TEST_CASE("a pickle written by hand gives its tensors") {
  const Tensor numbers = at::arange(1, 7, at::kFloat);
  CHECK(at::equal(read_object(dict({{"a", good()}})).tensors[0].second, numbers));
  CHECK(at::equal(read_object(dict({{"a", tensor(six(), 1, {2, 2}, {1, 2})}})).tensors[0].second,
                  at::as_strided(numbers, {2, 2}, {1, 2}, 1)));
  CHECK_THROWS_WITH_AS(read_object(dict({{"a", tensor(six(), 0, {64}, {0})}})),
                       doctest::Contains("tensor \"a\" as an expanded view; save a copy of it"), Error);
  // A view of a storage, as in files before PyTorch 0.4: an offset of two elements.
  const std::string view = storage("0", 6, "FloatStorage", {tuple({word("0"), integer(2), integer(4)})});
  CHECK(at::equal(read_object(dict({{"a", tensor(view, 0, {4}, {1})}})).tensors[0].second, numbers.slice(0, 2)));
  // Python 2's OrderedDict: a call with the list of its items.
  const std::string items = "](](" + word("a") + good() + "ee";
  CHECK(read_object(call(name("collections", "OrderedDict"), {items})).tensors.size() == 1);
  // The versions that a state_dict has as an attribute.
  const std::string versions = dict({{"_metadata", dict({{"", dict({{"version", integer(1)}})}})}});
  CHECK(read_object(name("collections", "OrderedDict") + ")R(" + word("a") + good() + "u" + versions + "b")
            .tensors.size() == 1);
}

TEST_CASE("anything but tensors and plain containers is refused by name, wherever it is") {
  const std::pair<std::string, std::string> names[] = {{"builtins", "eval"},
                                                       {"__builtin__", "eval"},
                                                       {"os", "system"},
                                                       {"posix", "system"},
                                                       {"nt", "system"},
                                                       {"subprocess", "Popen"},
                                                       {"builtins", "getattr"},
                                                       {"numpy.core.multiarray", "_reconstruct"},
                                                       {"torch", "load"},
                                                       {"torch._utils", "_rebuild_qtensor"},
                                                       {"argparse", "Namespace"},
                                                       {"collections", "defaultdict"},
                                                       {"torch", "FloatStorage.__init__"},
                                                       {"torch.FloatStorage", ""}};
  for (const auto& [module, word_of] : names) {
    const std::string full = module + "." + word_of;
    CAPTURE(full);
    const std::string evil = call(name(module, word_of), {word("print('owned')")});
    CHECK_THROWS_WITH_AS(read_object(dict({{"a", good()}, {"b", evil}})),
                         doctest::Contains((full + "\", which is refused").c_str()), Error);
    CHECK_THROWS_WITH_AS(read_object(evil), doctest::Contains(full.c_str()), Error);
    // With the opcode of newer protocols.
    CHECK_THROWS_WITH_AS(read_object(word(module) + word(word_of) + "\x93"), doctest::Contains(full.c_str()), Error);
    // Only named, never called.
    CHECK_THROWS_WITH_AS(read_object(name(module, word_of) + "0" + dict({{"a", good()}})),
                         doctest::Contains(full.c_str()), Error);
  }
  CHECK_THROWS_WITH_AS(read_object(name("collections", "OrderedDict") + ")\x81"),
                       doctest::Contains("an object of a class"), Error);
  CHECK_THROWS_WITH_AS(read_object("(ios\nsystem\n"), doctest::Contains("opcode 105"), Error);
  CHECK_THROWS_WITH_AS(read_object(good() + dict({}) + "b"), doctest::Contains("sets the state of a tensor"), Error);
  CHECK_THROWS_WITH_AS(read_object(call(name("torch", "FloatStorage"), {integer(3)})),
                       doctest::Contains("calls torch.FloatStorage, which is refused"), Error);
}

TEST_CASE("a tensor that reaches beyond its storage is refused, not read") {
  const auto refused = [](const std::string& object, const char* why) {
    CHECK_THROWS_WITH_AS(read_object(dict({{"a", object}})), doctest::Contains(why), Error);
  };
  refused(tensor(six(), 0, {7}, {1}), "larger than its storage");
  refused(tensor(six(), 1, {6}, {1}), "leaves its storage");
  refused(tensor(six(), 0, {2, 2}, {5, 1}), "leaves its storage");
  refused(tensor(six(), -1, {1}, {1}), "begins outside its storage");
  refused(tensor(six(), 7, {1}, {1}), "begins outside its storage");
  refused(tensor(six(), 0, {2}, {-1}), "negative stride");
  refused(tensor(six(), 0, {-1}, {1}), "negative size");
  refused(tensor(six(), 0, {2, 3}, {1}), "as many strides as sizes");
  refused(tensor(six(), 0, {2147483647, 2147483647, 2147483647}, {0, 0, 0}), "as an expanded view");
  refused(tensor(six(), 0, {2}, {2147483647}), "leaves its storage");
  refused(tensor(storage("0", 5), 0, {5}, {1}), "storage \"0\" has 6 elements, its pickle says 5");
  refused(tensor(storage("0", 6, "DoubleStorage"), 0, {6}, {1}), "is truncated in storage \"0\"");
  refused(tensor(storage("0", -1), 0, {0}, {1}), "negative size");
  refused(tensor(six(), 0, std::vector<std::int32_t>(65, 1), std::vector<std::int32_t>(65, 1)), "65 dimensions");
  refused(tensor(storage("0", 6, "ComplexFloatStorage"), 0, {1}, {1}), "torch.ComplexFloatStorage");
  // Two views of one storage that disagree on its type.
  CHECK_THROWS_WITH_AS(read_object(dict({{"a", good()}, {"b", tensor(storage("0", 6, "IntStorage"), 0, {6}, {1})}})),
                       doctest::Contains("two sizes or types"), Error);
}

TEST_CASE("a pickle that is not a program for values is refused") {
  for (const char* object : {"",
                             "0",
                             "t",
                             "R",
                             "b",
                             "Q",
                             "u",
                             "e",
                             "a",
                             "s",
                             "2",
                             "q\x01",
                             "h\x05",
                             "(",
                             "\x87",
                             "}(Nu",
                             "}Na",
                             "\x85\x85",
                             "]NNs",
                             "c",
                             "X\xff\xff\xff\xff",
                             "\x8d\xff\xff\xff\xff\xff\xff\xff\x7f",
                             "\x8a\xff",
                             "I1\n",
                             "V\n",
                             "\x80\x09",
                             "(((((((((",
                             "\x95",
                             "}q\x01(X\x01",
                             "P0\n"}) {
    CAPTURE(object);
    CHECK_THROWS_AS(read_object(object), Error);
  }
  // A dict inside itself, and tuples that double at every step: reading must neither loop nor grow.
  CHECK_THROWS_WITH_AS(read_object("}q\x01(" + word("a") + "h\x01u", {}),
                       doctest::Contains("does not hold a dict of tensors"), Error);
  std::string doubled = "}q\x01";
  for (int i = 0; i < 40; ++i) doubled += "0}(" + word("a") + "h\x01" + word("b") + "h\x01uq\x01";
  CHECK_THROWS_AS(read_object(doubled), Error);
  // The same tensor under many names would be written many times.
  std::vector<std::pair<std::string, std::string>> many;
  for (int i = 0; i < 40; ++i) many.emplace_back(std::to_string(i), good());
  CHECK_THROWS_WITH_AS(read_object(dict(many)), doctest::Contains("bytes of tensors"), Error);
  CHECK_THROWS_WITH_AS(read_object(dict({{"a", good()}, {"a", good()}})), doctest::Contains("\"a\" twice"), Error);
  CHECK_THROWS_WITH_AS(read_object(dict({{"a", integer(1)}}), {}), doctest::Contains("does not hold a dict of tensors"),
                       Error);
  CHECK_THROWS_WITH_AS(read_object(dict({{"a", good()}}), {}), doctest::Contains("no storage \"0\""), Error);
  // Without elements, and with a shape whose product overflows.
  const std::string huge("\x8a\x08\0\0\0\0\0\0\0\x40", 10);
  const std::string shape = tuple({integer(0), huge, integer(8)});
  const std::string empty = call(name("torch._utils", "_rebuild_tensor"), {six(), integer(0), shape, shape});
  CHECK_THROWS_WITH_AS(read_object(dict({{"a", empty}})), doctest::Contains("too large for any tensor"), Error);
}

TEST_CASE("files of a big-endian machine are refused") {
  const TemporaryFolder folder;
  const fs::path legacy =
      write_bytes(folder.path() / "big.pt", legacy_file(dict({{"a", good()}}), {{"0", {1, 2, 3, 4, 5, 6}}}, "\x89"));
  CHECK_THROWS_WITH_AS(read_torch_state(legacy), doctest::Contains("big-endian"), Error);
  CHECK_THROWS_WITH_AS(read_torch_state(altered_zip(folder.path(), "byteorder", "big")),
                       doctest::Contains("big-endian"), Error);
}

TEST_CASE("zip archives that torch.save would not write are refused") {
  const TemporaryFolder folder;
  const auto refused = [](const fs::path& path, const char* why) {
    CHECK_THROWS_WITH_AS(read_torch_state(path), doctest::Contains(why), Error);
  };
  refused(altered_zip(folder.path(), "constants.pkl", "x"), "TorchScript");
  refused(altered_zip(folder.path(), "data/0", std::string(100, '\0')), "\"data/0\" has 100 bytes");
  refused(altered_zip(folder.path(), "data/0", std::string(96, '\0'), true), "compressed");
  refused(altered_zip(folder.path(), "data.pkl", whole(dict({{"a", tensor(storage("none", 6), 0, {6}, {1})}}))),
          "no \"data/none\"");
  refused(altered_zip(folder.path(), "data.pkl", whole(name("builtins", "eval"))),
          "names \"builtins.eval\", which is refused");
  refused(source_dir() / "examples" / "data" / "emoji32.zip", "not of torch.save");
  refused(source_dir() / "README.md", "was not written by torch.save");
}

TEST_CASE("a file truncated anywhere is refused by name, one with any byte changed is read or refused") {
  const std::string legacy = content_of(fixture("legacy.pt"));
  const std::string zip = content_of(fixture("zip.pt"));
  CHECK(attack(legacy, 1) > 1000);
  CHECK(attack(zip, 3) > 1000);
}
