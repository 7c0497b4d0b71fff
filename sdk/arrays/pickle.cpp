#include "sdk/arrays/pickle.h"

#include <bit>
#include <unordered_map>

#include "casdm/error.h"
#include "casdm/text.h"
#include "sdk/arrays/pickled_arrays.h"

namespace casdm {

namespace {

constexpr std::size_t kMaxNodes = std::size_t{1} << 22;
constexpr std::size_t kMaxRebuilt = std::size_t{1} << 22;  // entries copied from lists into dicts

/// The bytes of the string, numbers or name that a value owns; what it only refers to does not count.
std::uint64_t size_of(const PickledNode& node) {
  const auto of_numbers = [](const std::vector<std::int64_t>& numbers) {
    return numbers.size() * sizeof(std::int64_t);
  };
  if (const auto* text = node.as<std::string>()) return text->size();
  if (const auto* name = node.as<PickledName>()) return name->name.size();
  if (const auto* type = node.as<PickledArrayType>()) return type->name.size();
  if (const auto* storage = node.as<PickledStorage>()) return storage->key.size();
  if (const auto* tensor = node.as<PickledTensor>()) {
    return tensor->storage.key.size() + of_numbers(tensor->sizes) + of_numbers(tensor->strides);
  }
  if (const auto* array = node.as<PickledArray>()) {
    return array->type.size() + of_numbers(array->shape) + array->bytes.size();
  }
  return 0;
}

}  // namespace

std::string PickleSource::bytes(std::uint64_t count) {
  if (count > left_) throw Error(text("is truncated: ", count, " bytes expected, ", left_, " are left"));
  if (count > longest_) throw Error(text("holds a string of ", count, " bytes; at most ", longest_, " are read"));
  std::string result(count, '\0');
  if (!stream_.read(result.data(), static_cast<std::streamsize>(count))) throw Error("cannot be read");
  left_ -= count;
  return result;
}

std::uint8_t PickleSource::byte() {
  if (left_ == 0) throw Error("is truncated: its pickle has no end");
  const int value = stream_.get();
  if (value == std::istream::traits_type::eof()) throw Error("cannot be read");
  --left_;
  return static_cast<std::uint8_t>(value);
}

std::uint64_t PickleSource::integer(int count) {
  std::uint64_t result = 0;
  for (int i = 0; i < count; ++i) result |= std::uint64_t{byte()} << (8 * i);
  return result;
}

std::string PickleSource::line() {
  std::string result;
  for (char c = static_cast<char>(byte()); c != '\n'; c = static_cast<char>(byte())) {
    if (result.size() == 4096) throw Error("is damaged: a name in its pickle has no end");
    result += c;
  }
  return result;
}

/// A reduced version of Python's unpickling machine: a stack, marks on it, and a memo.
class PickleMachine {
 public:
  PickleMachine(PickleSource& source, PickleNames names, Pickle& result)
      : in_(source),
        is_numpy_(names == PickleNames::numpy),
        result_(result),
        most_bytes_(4 * source.left() + (std::uint64_t{64} << 20)) {}

  void run() {
    while (step(in_.byte())) {
    }
    result_.root_ = pop();
  }

 private:
  /// Executes one opcode (names as in Python's pickletools); false at the end.
  bool step(std::uint8_t code) {
    if (step_scalar(code) || step_container(code)) return true;
    switch (code) {
      case 0x80:
        return check_protocol();
      case 0x95:
        in_.integer(8);  // FRAME
        return true;
      case 0x94:
        return remember(memo_.size());
      case 'q':
        return remember(in_.integer(1));
      case 'r':
        return remember(in_.integer(4));
      case 'h':
        return recall(in_.integer(1));
      case 'j':
        return recall(in_.integer(4));
      case '0':
        pop();
        return true;
      case '1':
        take_marked();
        return true;
      case '2':
        push(top());
        return true;
      case 'c': {
        const std::string module = in_.line();
        return push_name(module, in_.line());
      }
      case 0x93: {
        const PickledNode* name = pop();
        return push_name(string_of(*pop(), "a module"), string_of(*name, "a name"));
      }
      case 'R':
        return call();
      case 'b':
        return build();
      case 'Q':
        return push_storage();
      case '.':
        return false;
      case 0x81:
      case 0x92:
        throw Error(text("creates an object of a class, which is refused: only ", known(), " are read"));
      default:
        throw Error(text("is damaged, or not a pickle of ", is_numpy_ ? "arrays" : "torch.save", ": opcode ", int{code},
                         " is not expected"));
    }
  }

  bool step_scalar(std::uint8_t code) {
    switch (code) {
      case 'N':
        return push(std::monostate());
      case 0x88:
        return push(true);
      case 0x89:
        return push(false);
      case 'J':
        return push(std::int64_t{static_cast<std::int32_t>(in_.integer(4))});
      case 'K':
        return push(static_cast<std::int64_t>(in_.integer(1)));
      case 'M':
        return push(static_cast<std::int64_t>(in_.integer(2)));
      case 0x8a:
        return push_long();
      case 'G':
        return push_float();
      case 'U':
      case 'C':
      case 0x8c:
        return push(in_.bytes(in_.integer(1)));
      case 'T':
      case 'X':
      case 'B':
        return push(in_.bytes(in_.integer(4)));
      case 0x8d:
      case 0x8e:
      case 0x96:
        return push(in_.bytes(in_.integer(8)));
      default:
        return false;
    }
  }

  bool step_container(std::uint8_t code) {
    switch (code) {
      case '(':
        return open_mark();
      case ')':
        return push(PickledList{true, {}});
      case ']':
        return push(PickledList{});
      case '}':
        return push(PickledDict{});
      case 't':
        return push(PickledList{true, take_marked()});
      case 0x85:
      case 0x86:
      case 0x87:
        return push_tuple(code - 0x84);
      case 'a': {
        PickledNode* item = pop();
        list().items.push_back(item);
        return true;
      }
      case 'e': {
        const std::vector<PickledNode*> items = take_marked();
        PickledList& target = list();
        target.items.insert(target.items.end(), items.begin(), items.end());
        return true;
      }
      case 's': {
        PickledNode* value = pop();
        PickledNode* key = pop();
        dict().items.emplace_back(key, value);
        return true;
      }
      case 'u': {
        const std::vector<PickledNode*> items = take_marked();
        if (items.size() % 2 != 0) throw Error("is damaged: a dict has a key without a value");
        PickledDict& target = dict();
        for (std::size_t i = 0; i < items.size(); i += 2) target.items.emplace_back(items[i], items[i + 1]);
        return true;
      }
      default:
        return false;
    }
  }

  template <class T>
  bool push(T value) {
    if (result_.nodes_.size() == kMaxNodes) throw Error(text("holds more than ", kMaxNodes, " values"));
    PickledNode& node = result_.nodes_.emplace_back();
    node.data = std::move(value);
    count(node);
    stack_.push_back(&node);
    return true;
  }
  bool push(PickledNode* node) {
    if (stack_.size() == kMaxNodes) throw Error(text("holds more than ", kMaxNodes, " values"));
    stack_.push_back(node);
    return true;
  }

  /// A few bytes can copy a long string that is already there. Arrays of NumPy are copied twice.
  void count(const PickledNode& node) {
    bytes_ += size_of(node);
    if (bytes_ > most_bytes_) throw Error(text("makes values of more than ", most_bytes_, " bytes in all"));
  }

  PickledNode* top() const {
    if (stack_.empty() || (!marks_.empty() && marks_.back() == stack_.size())) {
      throw Error("is damaged: its pickle takes a value that is not there");
    }
    return stack_.back();
  }
  PickledNode* pop() {
    PickledNode* node = top();
    stack_.pop_back();
    return node;
  }
  bool open_mark() {
    if (marks_.size() == kMaxNodes) throw Error(text("holds more than ", kMaxNodes, " open containers"));
    marks_.push_back(stack_.size());
    return true;
  }
  std::vector<PickledNode*> take_marked() {
    if (marks_.empty()) throw Error("is damaged: its pickle closes what was not opened");
    const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    marks_.pop_back();
    std::vector<PickledNode*> items(first, stack_.end());
    stack_.erase(first, stack_.end());
    return items;
  }

  PickledList& list() const {
    auto* target = std::get_if<PickledList>(&top()->data);
    if (target == nullptr || target->is_tuple) throw Error(text("is damaged: ", describe(*top()), " is appended to"));
    return *target;
  }
  PickledDict& dict() const {
    auto* target = std::get_if<PickledDict>(&top()->data);
    if (target == nullptr) throw Error(text("is damaged: an item is set in ", describe(*top())));
    return *target;
  }

  bool check_protocol() {
    const std::uint64_t protocol = in_.integer(1);
    if (protocol < 2 || protocol > 5) throw Error(text("has pickle protocol ", protocol, "; 2 to 5 are read"));
    return true;
  }

  bool remember(std::uint64_t at) {
    if (memo_.size() == kMaxNodes) throw Error(text("remembers more than ", kMaxNodes, " values"));
    memo_[at] = top();
    return true;
  }
  bool recall(std::uint64_t at) {
    const auto found = memo_.find(at);
    if (found == memo_.end()) throw Error("is damaged: its pickle refers to a value that is not there");
    return push(found->second);
  }

  bool push_long() {
    const auto count = static_cast<int>(in_.integer(1));
    if (count > 8) throw Error(text("holds an integer of ", count, " bytes; at most 8 are read"));
    std::uint64_t value = in_.integer(count);
    if (count > 0 && count < 8 && (value >> (8 * count - 1)) != 0) value |= ~std::uint64_t{0} << (8 * count);
    return push(static_cast<std::int64_t>(value));
  }
  bool push_float() {
    std::uint64_t bits = 0;
    for (int i = 0; i < 8; ++i) bits = bits << 8 | in_.byte();  // the only number written in big-endian order
    return push(std::bit_cast<double>(bits));
  }
  bool push_tuple(int count) {
    PickledList tuple{true, std::vector<PickledNode*>(static_cast<std::size_t>(count))};
    for (auto item = tuple.items.rbegin(); item != tuple.items.rend(); ++item) *item = pop();
    return push(std::move(tuple));
  }

  bool push_name(const std::string& module, const std::string& name) {
    std::string full = module + "." + name;
    if (is_numpy_ ? !is_numpy_name(full) && full != kOrderedDict : !is_known_name(full)) {
      throw Error(text("names ", quoted(full), ", which is refused: only ", known(), " are read, and nothing is ",
                       "executed. Save the ", is_numpy_ ? "arrays" : "state_dict", " alone"));
    }
    return push(PickledName{std::move(full)});
  }

  bool call() {
    const PickledNode* arguments = pop();
    const PickledNode* callee = pop();
    const auto* name = callee->as<PickledName>();
    if (name == nullptr) throw Error(text("is damaged: it calls ", describe(*callee)));
    const std::vector<PickledNode*>& items = items_of(*arguments, "arguments");
    if (name->name == kOrderedDict) return push(ordered_dict(items));
    return push((is_numpy_ ? call_numpy(name->name, items) : call_known(name->name, items)).data);
  }

  PickledDict ordered_dict(const std::vector<PickledNode*>& arguments) {
    PickledDict result;
    if (arguments.empty()) return result;
    if (arguments.size() > 1) throw Error(text("is damaged: an OrderedDict has ", arguments.size(), " arguments"));
    for (const PickledNode* pair : items_of(*arguments[0], "the items of a dict")) {
      const std::vector<PickledNode*>& both = items_of(*pair, "an item of a dict");
      if (both.size() != 2) throw Error("is damaged: an item of a dict is not a pair");
      if (++rebuilt_ > kMaxRebuilt) throw Error(text("copies more than ", kMaxRebuilt, " items into dicts"));
      result.items.emplace_back(both[0], both[1]);
    }
    return result;
  }

  /// The attributes of an OrderedDict (a state_dict's versions) are ignored; nothing else has any.
  bool build() {
    const PickledNode* attributes = pop();
    if (top()->as<PickledDict>() != nullptr && attributes->as<PickledDict>() != nullptr) return true;
    if (is_numpy_) {
      set_numpy_state(*top(), *attributes);
      count(*top());
      return true;
    }
    throw Error(text("sets the state of ", describe(*top()), ", which is refused: only ", known(), " are read"));
  }

  bool push_storage() {
    PickledStorage storage = storage_of(*pop());
    const auto [known, is_new] = result_.storages_.emplace(storage.key, storage);
    if (!is_new && (known->second.type != storage.type || known->second.size != storage.size)) {
      throw Error(text("is damaged: storage ", quoted(storage.key), " has two sizes or types"));
    }
    return push(std::move(storage));
  }

  const char* known() const { return is_numpy_ ? "arrays and plain containers" : "tensors and plain containers"; }

  PickleSource& in_;
  bool is_numpy_;
  Pickle& result_;
  std::vector<PickledNode*> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint64_t, PickledNode*> memo_;
  std::size_t rebuilt_ = 0;
  std::uint64_t bytes_ = 0;  ///< of all values so far; see `size_of`
  std::uint64_t most_bytes_;
};

Pickle::Pickle(PickleSource& source, PickleNames names) { PickleMachine(source, names, *this).run(); }

}  // namespace casdm
