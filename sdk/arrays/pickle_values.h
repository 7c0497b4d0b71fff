#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace casdm {

/// The numbers behind one or more tensors, stored elsewhere in the file.
struct PickledStorage {
  std::string key;
  at::ScalarType type = at::kFloat;
  std::int64_t size = 0;    ///< elements
  std::int64_t offset = 0;  ///< if it is a view of another storage: elements before the view
};

/// A tensor as a view of its storage. Sizes and strides are as in the file, not checked yet.
struct PickledTensor {
  PickledStorage storage;
  std::int64_t offset = 0;  ///< elements
  std::vector<std::int64_t> sizes;
  std::vector<std::int64_t> strides;
};

struct PickledNode;

inline constexpr const char* kOrderedDict = "collections.OrderedDict";  // as named in pickles

/// The name of a class or function: "torch.FloatStorage".
struct PickledName {
  std::string name;
};

/// A list or tuple.
struct PickledList {
  bool is_tuple = false;
  std::vector<PickledNode*> items;
};

/// A dict or OrderedDict, in the order its items were set.
struct PickledDict {
  std::vector<std::pair<PickledNode*, PickledNode*>> items;
};

/// The type of a NumPy array; with its byte order once that is known: "<f8".
struct PickledArrayType {
  std::string name;
};

/// A NumPy array as stored.
struct PickledArray {
  std::string type;
  std::vector<std::int64_t> shape;
  bool is_fortran = false;  ///< column-major order
  std::string bytes;
};

/// One value of a pickle. Values refer to each other, possibly in cycles.
struct PickledNode {
  std::variant<std::monostate, bool, std::int64_t, double, std::string, PickledName, PickledList, PickledDict,
               PickledStorage, PickledTensor, PickledArrayType, PickledArray>
      data;

  template <class T>
  const T* as() const {
    return std::get_if<T>(&data);
  }
};

/// "a dict", "the integer 3", ...: for messages.
std::string describe(const PickledNode& node);

/// Each throws Error if the node is of another type; `what` names its role: "an offset".
const std::string& string_of(const PickledNode& node, const char* what);
const std::vector<PickledNode*>& items_of(const PickledNode& node, const char* what);

/// Whether a pickle may contain this name: those for tensors and plain containers.
bool is_known_name(std::string_view name);

/// The storage of a persistent id ("storage", class, key, location, size[, view]), where in old files the view is (key,
/// offset, size).
PickledStorage storage_of(const PickledNode& id);

/// The result of calling a known function that makes tensors, or "torch.Size". Throws Error for other names and for
/// invalid arguments.
PickledNode call_known(const std::string& name, const std::vector<PickledNode*>& arguments);

}  // namespace casdm
