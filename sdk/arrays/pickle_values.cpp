#include "sdk/arrays/pickle_values.h"

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace {

constexpr std::pair<const char*, at::ScalarType> kStorageTypes[] = {
    {"DoubleStorage", at::kDouble},     {"FloatStorage", at::kFloat}, {"HalfStorage", at::kHalf},
    {"BFloat16Storage", at::kBFloat16}, {"LongStorage", at::kLong},   {"IntStorage", at::kInt},
    {"ShortStorage", at::kShort},       {"CharStorage", at::kChar},   {"ByteStorage", at::kByte},
    {"BoolStorage", at::kBool}};

constexpr const char* kRebuildTensor = "torch._utils._rebuild_tensor";
constexpr const char* kRebuildTensorV2 = "torch._utils._rebuild_tensor_v2";
constexpr const char* kRebuildParameter = "torch._utils._rebuild_parameter";
constexpr const char* kSize = "torch.Size";
constexpr std::size_t kMaxDimensions = 64;

/// The dtype of "torch.FloatStorage" or "torch.cuda.FloatStorage", or null.
const at::ScalarType* storage_type(std::string_view name) {
  for (const std::string_view module : {"torch.cuda.", "torch."}) {
    if (!name.starts_with(module)) continue;
    for (const auto& [known, type] : kStorageTypes) {
      if (name.substr(module.size()) == known) return &type;
    }
  }
  return nullptr;
}

std::int64_t integer_of(const PickledNode& node, const char* what) {
  if (const auto* value = node.as<std::int64_t>()) return *value;
  throw Error(text("is damaged: expected an integer as ", what, ", got ", describe(node)));
}

/// The items of a tuple with one entry per dimension.
const std::vector<PickledNode*>& dimensions_of(const PickledNode& node, const char* what) {
  const std::vector<PickledNode*>& items = items_of(node, what);
  if (items.size() > kMaxDimensions) throw Error(text("is damaged: a tensor has ", items.size(), " dimensions"));
  return items;
}

std::vector<std::int64_t> integers_of(const PickledNode& node, const char* what) {
  std::vector<std::int64_t> result;
  for (const PickledNode* item : dimensions_of(node, what)) result.push_back(integer_of(*item, what));
  return result;
}

const PickledTensor& tensor_of(const PickledNode& node) {
  if (const auto* tensor = node.as<PickledTensor>()) return *tensor;
  throw Error(text("is damaged: expected a tensor as a parameter's value, got ", describe(node)));
}

/// (storage, offset, sizes, strides, requires_grad, hooks, metadata): what comes after the strides does not affect the
/// values, except the metadata, which may say "conjugated" or "negated".
PickledTensor rebuilt(const std::vector<PickledNode*>& arguments) {
  const auto* storage = arguments[0]->as<PickledStorage>();
  if (storage == nullptr) throw Error(text("is damaged: expected a storage, got ", describe(*arguments[0])));
  if (arguments.size() == 7 && arguments[6]->as<std::monostate>() == nullptr) {
    const auto* metadata = arguments[6]->as<PickledDict>();
    if (metadata == nullptr || !metadata->items.empty())
      throw Error("holds a tensor that is a lazy view (conjugated or negated), which is refused");
  }
  return {*storage, integer_of(*arguments[1], "an offset"), integers_of(*arguments[2], "a size"),
          integers_of(*arguments[3], "a stride")};
}

}  // namespace

const std::string& string_of(const PickledNode& node, const char* what) {
  if (const auto* value = node.as<std::string>()) return *value;
  throw Error(text("is damaged: expected a string as ", what, ", got ", describe(node)));
}

const std::vector<PickledNode*>& items_of(const PickledNode& node, const char* what) {
  if (const auto* list = node.as<PickledList>()) return list->items;
  throw Error(text("is damaged: expected a tuple as ", what, ", got ", describe(node)));
}

bool is_known_name(std::string_view name) {
  for (const char* known : {kOrderedDict, kRebuildTensor, kRebuildTensorV2, kRebuildParameter, kSize}) {
    if (name == known) return true;
  }
  return storage_type(name) != nullptr;
}

PickledStorage storage_of(const PickledNode& id_node) {
  const std::vector<PickledNode*>& id = items_of(id_node, "a persistent id");
  if (id.size() < 5 || id.size() > 6 || string_of(*id[0], "a persistent id") != "storage") {
    throw Error("is damaged: a persistent id is not a storage");
  }
  const auto* name = id[1]->as<PickledName>();
  const at::ScalarType* type = name != nullptr ? storage_type(name->name) : nullptr;
  if (type == nullptr) throw Error(text("is damaged: ", describe(*id[1]), " is not a class of storages"));
  PickledStorage storage{string_of(*id[2], "a storage's key"), *type, integer_of(*id[4], "a storage's size"), 0};
  if (storage.size < 0) throw Error(text("is damaged: storage ", quoted(storage.key), " has a negative size"));
  if (id.size() == 6 && id[5]->as<std::monostate>() == nullptr) {
    const std::vector<PickledNode*>& view = items_of(*id[5], "a view of a storage");
    if (view.size() != 3) throw Error("is damaged: a view of a storage does not have three parts");
    storage.offset = integer_of(*view[1], "a view's offset");
  }
  return storage;
}

PickledNode call_known(const std::string& name, const std::vector<PickledNode*>& arguments) {
  const auto expect = [&](std::size_t least, std::size_t most) {
    if (arguments.size() >= least && arguments.size() <= most) return;
    throw Error(text("is damaged: ", name, " has ", arguments.size(), " arguments"));
  };
  if (name == kSize) return expect(1, 1), PickledNode{PickledList{true, dimensions_of(*arguments[0], "a size")}};
  if (name == kRebuildParameter) return expect(3, 4), PickledNode{tensor_of(*arguments[0])};
  if (name == kRebuildTensor) return expect(4, 4), PickledNode{rebuilt(arguments)};
  if (name == kRebuildTensorV2) return expect(6, 7), PickledNode{rebuilt(arguments)};
  throw Error(text("calls ", name, ", which is refused: only tensors and plain containers are read"));
}

std::string describe(const PickledNode& node) {
  struct Words {
    std::string operator()(std::monostate) const { return "None"; }
    std::string operator()(bool value) const { return value ? "True" : "False"; }
    std::string operator()(std::int64_t value) const { return text("the integer ", value); }
    std::string operator()(double value) const { return text("the number ", number(value)); }
    std::string operator()(const std::string& value) const { return text("the string ", quoted(value, 40)); }
    std::string operator()(const PickledName& value) const { return quoted(value.name); }
    std::string operator()(const PickledList& value) const { return value.is_tuple ? "a tuple" : "a list"; }
    std::string operator()(const PickledDict&) const { return "a dict"; }
    std::string operator()(const PickledStorage&) const { return "a storage"; }
    std::string operator()(const PickledTensor&) const { return "a tensor"; }
    std::string operator()(const PickledArrayType&) const { return "the type of an array"; }
    std::string operator()(const PickledArray&) const { return "an array"; }
  };
  return std::visit(Words(), node.data);
}

}  // namespace casdm
