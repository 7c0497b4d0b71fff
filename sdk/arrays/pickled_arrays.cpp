#include "sdk/arrays/pickled_arrays.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "casdm/error.h"
#include "casdm/text.h"
#include "sdk/arrays/pickle.h"

namespace casdm {

namespace {

constexpr std::uint64_t kLargestPickledArray = std::uint64_t{1} << 31;  // bytes

/// The last part of a name in one of NumPy's modules, which were renamed in version 2: "multiarray._reconstruct".
std::string_view numpy_function(std::string_view name) {
  for (const std::string_view module : {"numpy.core.", "numpy._core."}) {
    if (name.starts_with(module)) return name.substr(module.size());
  }
  return {};
}

std::vector<std::int64_t> shape_of(const PickledNode& node) {
  std::vector<std::int64_t> shape;
  for (const PickledNode* item : items_of(node, "a shape")) {
    const auto* size = item->as<std::int64_t>();
    if (size == nullptr || *size < 0 || *size > (std::int64_t{1} << 32) || shape.size() == 8) {
      throw Error("is damaged: an array has no shape");
    }
    shape.push_back(*size);
  }
  return shape;
}

const std::string& type_of(const PickledNode& node) {
  if (const auto* type = node.as<PickledArrayType>()) return type->name;
  throw Error(text("is damaged: expected the type of an array, got ", describe(node)));
}

/// Converts bytes that protocol 2 wrote as text, with one character for each.
std::string from_latin1(const std::string& utf8) {
  std::string bytes;
  for (std::size_t i = 0; i < utf8.size(); ++i) {
    const auto c = static_cast<unsigned char>(utf8[i]);
    if (c < 0x80) {
      bytes += utf8[i];
    } else if ((c == 0xC2 || c == 0xC3) && i + 1 < utf8.size()) {
      bytes += static_cast<char>((c & 0x03) << 6 | (static_cast<unsigned char>(utf8[++i]) & 0x3F));
    } else {
      throw Error("is damaged: bytes are not characters of Latin-1");
    }
  }
  return bytes;
}

/// The array as float64 in C order.
at::Tensor tensor_of(const PickledArray& array, const std::string& key) {
  const bool is_double = array.type == "<f8";
  if (!is_double && array.type != "<f4") {
    throw Error(
        text("holds ", quoted(key), " as ", quoted(array.type), "; expected <f8 or <f4, numbers in floating point"));
  }
  std::vector<std::int64_t> shape = array.shape;
  if (array.is_fortran) std::reverse(shape.begin(), shape.end());
  std::uint64_t bytes = is_double ? 8 : 4;
  for (const std::int64_t size : shape) {
    bytes *= static_cast<std::uint64_t>(size);
    if (bytes > kLargestPickledArray)
      throw Error(text("holds an array ", quoted(key), " that is too large to be read"));
  }
  if (bytes != array.bytes.size()) {
    throw Error(text("is damaged: the array ", quoted(key), " has ", array.bytes.size(), " bytes instead of ", bytes));
  }
  at::Tensor values = at::empty(shape, is_double ? at::kDouble : at::kFloat);
  std::memcpy(values.data_ptr(), array.bytes.data(), array.bytes.size());
  if (array.is_fortran && values.dim() == 2) values = values.t();
  return values.to(at::kDouble).contiguous();
}

void collect(const PickledNode& node, const std::string& prefix, int depth, std::map<std::string, at::Tensor>& found) {
  const auto* dict = node.as<PickledDict>();
  if (dict == nullptr) throw Error(text("holds ", describe(node), "; expected a dict of arrays"));
  for (const auto& [key, value] : dict->items) {
    const std::string name = text(prefix, string_of(*key, "a key"));
    if (const auto* array = value->as<PickledArray>()) {
      found[name] = tensor_of(*array, name);
    } else if (value->as<PickledDict>() != nullptr && depth == 0) {
      collect(*value, name + ".", depth + 1, found);
    }
  }
}

}  // namespace

bool is_numpy_name(std::string_view name) {
  if (name == "numpy.ndarray" || name == "numpy.dtype" || name == "_codecs.encode") return true;
  const std::string_view function = numpy_function(name);
  return function == "multiarray._reconstruct" || function == "numeric._frombuffer";
}

PickledNode call_numpy(const std::string& name, const std::vector<PickledNode*>& arguments) {
  const auto expect = [&](std::size_t least, std::size_t most) {
    if (arguments.size() >= least && arguments.size() <= most) return;
    throw Error(text("is damaged: ", name, " has ", arguments.size(), " arguments"));
  };
  if (name == "numpy.dtype") {
    expect(1, 3);
    return {PickledArrayType{string_of(*arguments[0], "a type")}};
  }
  if (name == "_codecs.encode") {
    expect(1, 2);
    return {from_latin1(string_of(*arguments[0], "bytes"))};
  }
  if (numpy_function(name) == "multiarray._reconstruct") return expect(3, 3), PickledNode{PickledArray{}};
  if (numpy_function(name) == "numeric._frombuffer") {
    expect(4, 4);
    return {PickledArray{type_of(*arguments[1]), shape_of(*arguments[2]), string_of(*arguments[3], "an order") == "F",
                         string_of(*arguments[0], "the bytes of an array")}};
  }
  throw Error(text("calls ", name, ", which is refused: only arrays and plain containers are read"));
}

void set_numpy_state(PickledNode& node, const PickledNode& state) {
  const std::vector<PickledNode*>& items = items_of(state, "the state of an array");
  if (auto* type = std::get_if<PickledArrayType>(&node.data)) {
    if (items.size() < 2) throw Error("is damaged: the type of an array has no state");
    const std::string& order = string_of(*items[1], "an order of bytes");
    type->name = (order == "=" ? "<" : order) + type->name;
    return;
  }
  auto* array = std::get_if<PickledArray>(&node.data);
  if (array == nullptr || items.size() != 5 || items[3]->as<bool>() == nullptr) {
    throw Error(text("sets the state of ", describe(node), ", which is refused: only arrays are read"));
  }
  *array = {type_of(*items[2]), shape_of(*items[1]), *items[3]->as<bool>(),
            string_of(*items[4], "the bytes of an array")};
}

std::map<std::string, at::Tensor> read_pickled_arrays(const std::filesystem::path& path) {
  try {
    std::error_code failure;
    if (!std::filesystem::is_regular_file(path, failure)) throw Error("is not a file");
    std::ifstream stream(path, std::ios::binary);
    PickleSource source(stream, std::filesystem::file_size(path), kLargestPickledArray);
    const Pickle pickle(source, PickleNames::numpy);
    std::map<std::string, at::Tensor> found;
    collect(pickle.root(), "", 0, found);
    return found;
  } catch (const Error& error) {
    throw Error(text(path.string(), " ", error.what()));
  }
}

}  // namespace casdm
