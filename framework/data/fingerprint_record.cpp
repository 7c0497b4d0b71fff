#include "framework/data/fingerprint.h"

#include <algorithm>
#include <iterator>
#include <string_view>
#include <vector>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace {

/// "5 of the 64 labels that were looked at are others"; empty if none is, or they cannot be compared.
/// @param unknown  the entry for an image that could not be read
template <class T>
std::string difference_of(const char* what, const std::vector<T>& then, const std::vector<T>& now, const T& unknown) {
  if (then.size() != now.size()) return "";
  std::size_t others = 0;
  for (std::size_t i = 0; i < now.size(); ++i) {
    others += then[i] != now[i] && then[i] != unknown && now[i] != unknown;
  }
  return others == 0 ? "" : text(others, " of the ", now.size(), ' ', what, " that were looked at are others");
}

std::vector<std::string> content_at(const Value& table, const char* key) {
  const Value* list = table.find(key);
  std::vector<std::string> content;
  if (list == nullptr) return content;
  if (!list->is_array()) throw Error(text("the '", key, "' in the record of the data is not an array"));
  for (const Value& image : list->as_array()) {
    if (!image.is_string()) throw Error(text("the '", key, "' in the record of the data is not all strings"));
    content.push_back(image.as_string());
  }
  return content;
}

std::vector<std::int64_t> labels_at(const Value& table) {
  const Value* list = table.find("labels");
  std::vector<std::int64_t> labels;
  if (list == nullptr) return labels;
  if (!list->is_array()) throw Error("the 'labels' in the record of the data are not an array");
  for (const Value& label : list->as_array()) {
    if (!label.is_integer()) throw Error("the 'labels' in the record of the data are not all integers");
    labels.push_back(label.as_integer());
  }
  return labels;
}

std::string to_text(const std::array<std::int64_t, 3>& shape) {
  return text(shape[2], " x ", shape[1], " pixels in ", shape[0], " channels");
}

std::int64_t count_at(const Value& table, std::string_view key) {
  const Value* number = table.find(key);
  if (number == nullptr || !number->is_integer() || number->as_integer() < 0) {
    throw Error(text("the record of the data has no count '", key, "'"));
  }
  return number->as_integer();
}

}  // namespace

Value to_value(const DataFingerprint& data) {
  Value value{Value::Table{}};
  value.set("count", data.count);
  value.set("classes", data.classes);
  value.set("shape", Value::Array(data.shape.begin(), data.shape.end()));
  value.set("hash", data.hash);
  if (!data.labels.empty()) value.set("labels", Value::Array(data.labels.begin(), data.labels.end()));
  if (!data.content.empty()) value.set("content", Value::Array(data.content.begin(), data.content.end()));
  if (!data.extras.empty()) value.set("extras", Value::Array(data.extras.begin(), data.extras.end()));
  return value;
}

DataFingerprint fingerprint_from(const Value& value) {
  DataFingerprint data;
  data.count = count_at(value, "count");
  data.classes = count_at(value, "classes");
  const Value* shape = value.find("shape");
  if (shape == nullptr || !shape->is_array() || shape->as_array().size() != data.shape.size()) {
    throw Error("the record of the data has no 'shape' of three numbers");
  }
  for (std::size_t i = 0; i < data.shape.size(); ++i) data.shape[i] = shape->as_array()[i].as_integer();
  const Value* hash = value.find("hash");
  if (hash == nullptr || !hash->is_string()) throw Error("the record of the data has no 'hash'");
  data.hash = hash->as_string();
  data.labels = labels_at(value);
  data.content = content_at(value, "content");
  data.extras = content_at(value, "extras");
  return data;
}

std::string what_differs(const DataFingerprint& then, const DataFingerprint& now) {
  std::vector<std::string> parts;
  if (now.count != then.count) parts.push_back(text(now.count, " images instead of ", then.count));
  if (now.classes != then.classes) parts.push_back(text(now.classes, " classes instead of ", then.classes));
  if (now.shape != then.shape) parts.push_back(text(to_text(now.shape), " instead of ", to_text(then.shape)));
  if (now.count == then.count && now.hash != then.hash)
    parts.push_back(text("the same number of images, but of other names"));
  const bool is_renamed = now.count != then.count || now.hash != then.hash || now.shape != then.shape;
  const std::vector<std::string> looks = {
      difference_of("labels", then.labels, now.labels, DataFingerprint::kUnreadable),
      is_renamed ? "" : difference_of("images", then.content, now.content, std::string()),
      is_renamed ? "" : difference_of("extras", then.extras, now.extras, std::string())};
  std::copy_if(looks.begin(), looks.end(), std::back_inserter(parts), [](const auto& look) { return !look.empty(); });
  return join(parts, ", ");
}

std::string difference(const DataFingerprint& then, const DataFingerprint& now) {
  const std::string what = what_differs(then, now);
  return what.empty() ? "" : "the data are not those of the checkpoint: " + what;
}

}  // namespace casdm
