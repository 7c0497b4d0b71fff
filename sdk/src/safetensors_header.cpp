#include "safetensors_header.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>
#include <unordered_set>
#include <utility>

#include "casdm/error.h"
#include "casdm/text.h"
#include "json_problem.h"

namespace casdm {

namespace {

using Json = nlohmann::json;

constexpr std::pair<const char*, at::ScalarType> kTypes[] = {
    {"F64", at::kDouble}, {"F32", at::kFloat}, {"F16", at::kHalf}, {"BF16", at::kBFloat16}, {"I64", at::kLong},
    {"I32", at::kInt},    {"I16", at::kShort}, {"I8", at::kChar},  {"U8", at::kByte},       {"BOOL", at::kBool}};

constexpr std::string_view kMetadata = "__metadata__";
constexpr std::size_t kMostEntries = std::size_t{1} << 18;  // tensors and metadata; each needs a few hundred bytes
constexpr std::size_t kMostDimensions = 64;
constexpr std::uint64_t kMostTensorBytes = std::uint64_t{1} << 46;
constexpr std::size_t kLongestReason = 160;  // of the parser's message, which repeats its input

at::ScalarType type_named(const std::string& name) {
  for (const auto& [known, type] : kTypes) {
    if (name == known) return type;
  }
  throw Error(text("has a tensor of unknown dtype ", quoted(name)));
}

std::string name_of(at::ScalarType type) {
  for (const auto& [known, candidate] : kTypes) {
    if (type == candidate) return known;
  }
  throw Error(text("cannot hold dtype ", at::toString(type)));
}

/// Processes the header while it is parsed: {name: {"dtype": ..., "shape": [...], "data_offsets": [begin, end]}, ...}.
class HeaderReader final : public nlohmann::json_sax<Json> {
 public:
  TensorHeader header;

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a boolean"); }
  bool number_integer(std::int64_t) override { return unexpected("a negative number"); }
  bool number_float(double, const std::string&) override { return unexpected("a fraction"); }
  bool binary(Json::binary_t&) override { return unexpected("bytes"); }
  bool number_unsigned(std::uint64_t value) override {
    if (numbers_ == nullptr) return unexpected("a number");
    if (numbers_->size() == kMostDimensions) return unexpected("more numbers");
    numbers_->push_back(value);
    return true;
  }
  bool string(std::string& value) override {
    if (depth_ == 2 && is_metadata_) {
      header.metadata[field_] = std::move(value);
    } else if (depth_ == 2 && field_ == "dtype") {
      type_ = type_named(value);
      has_type_ = true;
    } else {
      return unexpected("a string");
    }
    return true;
  }
  bool start_object(std::size_t) override {
    if (depth_ == 2) return unexpected("an object");
    if (++depth_ == 1) return true;
    is_metadata_ = name_ == kMetadata;
    has_type_ = false;
    shape_.clear();
    offsets_.clear();
    has_shape_ = false;
    return true;
  }
  bool key(std::string& value) override {
    if (depth_ == 1 || is_metadata_) count();
    if (depth_ == 1) {
      if (!names_.insert(value).second) throw Error(text("is damaged: its header has ", quoted(value), " twice"));
      name_ = std::move(value);
    } else {
      field_ = std::move(value);
    }
    return true;
  }
  bool end_object() override {
    if (--depth_ == 1 && !is_metadata_) add_tensor();
    return true;
  }
  bool start_array(std::size_t) override {
    const bool is_shape = field_ == "shape";
    if (depth_ != 2 || is_metadata_ || numbers_ != nullptr || !(is_shape || field_ == "data_offsets")) {
      return unexpected("an array");
    }
    numbers_ = is_shape ? &shape_ : &offsets_;
    numbers_->clear();
    has_shape_ |= is_shape;
    return true;
  }
  bool end_array() override {
    numbers_ = nullptr;
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const Json::exception& error) override {
    throw Error(text("is damaged: its header is not JSON: ", quoted(json_problem(error), kLongestReason)));
  }

 private:
  [[noreturn]] bool unexpected(const char* what) const {
    throw Error(text("is damaged: its header has ", what, " where the format does not allow it",
                     depth_ == 2 ? ", at " + quoted(name_) : ""));
  }

  void count() {
    if (++count_ > kMostEntries) throw Error(text("has more than ", kMostEntries, " tensors and metadata entries"));
  }

  void add_tensor() {
    if (!has_type_ || !has_shape_ || offsets_.size() != 2) {
      throw Error(text("is damaged: tensor ", quoted(name_), " has no dtype, shape or data_offsets"));
    }
    TensorEntry entry{std::move(name_), type_, {}, offsets_[0], offsets_[1]};
    std::uint64_t volume = at::elementSize(entry.type);  // as if no dimension were 0
    bool is_empty = false;
    for (const std::uint64_t extent : shape_) {
      is_empty |= extent == 0;
      const std::uint64_t factor = std::max<std::uint64_t>(1, extent);
      if (volume > kMostTensorBytes / factor) {
        throw Error(text("gives tensor ", quoted(entry.name), " an impossible shape"));
      }
      volume *= factor;
      entry.shape.push_back(static_cast<std::int64_t>(extent));
    }
    const std::uint64_t bytes = is_empty ? 0 : volume;
    if (entry.begin > entry.end || entry.end - entry.begin != bytes) {
      throw Error(text("is damaged: shape and offsets of tensor ", quoted(entry.name), " disagree"));
    }
    header.entries.push_back(std::move(entry));
  }

  int depth_ = 0;
  std::size_t count_ = 0;
  std::unordered_set<std::string> names_;
  std::string name_;   ///< the current key at the root
  std::string field_;  ///< the current key below it
  bool is_metadata_ = false;
  bool has_type_ = false;
  bool has_shape_ = false;
  at::ScalarType type_ = at::kFloat;
  std::vector<std::uint64_t> shape_;
  std::vector<std::uint64_t> offsets_;
  std::vector<std::uint64_t>* numbers_ = nullptr;  ///< the current array
};

std::string to_json_string(const std::string& value, std::string_view what) {
  try {
    return Json(value).dump();
  } catch (const Json::exception&) {
    throw Error(text("cannot be written: ", what, " ", quoted(value), " is not UTF-8"));
  }
}

}  // namespace

TensorHeader read_tensor_header(std::string_view json, std::uint64_t size) {
  HeaderReader reader;
  Json::sax_parse(json, &reader);
  std::vector<TensorEntry>& entries = reader.header.entries;
  std::sort(entries.begin(), entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  std::uint64_t end = 0;
  for (const TensorEntry& entry : entries) {
    if (entry.end > size) {
      throw Error(text("is truncated: tensor ", quoted(entry.name), " ends ", entry.end - size, " bytes past its end"));
    }
    if (entry.begin != end) {
      throw Error(text("is damaged: tensor ", quoted(entry.name), " begins at byte ", entry.begin,
                       ", the one before it ends at ", end));
    }
    end = entry.end;
  }
  if (end != size) throw Error(text("is damaged: ", size - end, " bytes follow its last tensor"));
  return std::move(reader.header);
}

std::string write_tensor_header(const NamedTensors& tensors, const std::map<std::string, std::string>& metadata) {
  std::vector<std::string> parts;
  if (!metadata.empty()) {
    std::vector<std::string> members;
    for (const auto& [key, value] : metadata) {
      members.push_back(text(to_json_string(key, "the metadata's key"), ":", to_json_string(value, "the metadata")));
    }
    parts.push_back(text("\"", kMetadata, "\":{", join(members, ","), "}"));
  }
  std::unordered_set<std::string_view> names{kMetadata};
  std::uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    if (!names.insert(name).second) {
      throw Error(
          text("cannot be written: the tensor name ", quoted(name),
               name == kMetadata ? " is reserved by the format; leave the tensor out or rename it" : " comes twice"));
    }
    const std::uint64_t end = offset + tensor.nbytes();
    std::vector<std::string> shape;
    for (const std::int64_t extent : tensor.sizes()) shape.push_back(std::to_string(extent));
    parts.push_back(text(to_json_string(name, "the tensor name"), ":{\"dtype\":\"", name_of(tensor.scalar_type()),
                         "\",\"shape\":[", join(shape, ","), "],\"data_offsets\":[", offset, ",", end, "]}"));
    offset = end;
  }
  return text("{", join(parts, ","), "}");
}

}  // namespace casdm
