#include "labels.h"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "casdm/error.h"
#include "casdm/text.h"
#include "casdm/value.h"
#include "files.h"

namespace casdm::dataset_images {

namespace {

std::unordered_map<std::string, std::int64_t> read_pairs(const Value& list) {
  if (!list.is_array()) throw Error(text("'labels' is of type ", list.type_name(), ", expected a list or null"));
  std::unordered_map<std::string, std::int64_t> labels;
  for (const Value& pair : list.as_array()) {
    const bool is_pair = pair.is_array() && pair.as_array().size() == 2 && pair.as_array()[0].is_string();
    if (!is_pair) throw Error("an entry of 'labels' is not of the form [\"file\", class]");
    const std::string& name = pair.as_array()[0].as_string();
    const Value& label = pair.as_array()[1];
    if (!label.is_integer() || label.as_integer() < 0 || label.as_integer() >= kMaxClasses) {
      throw Error(text("the label of ", quoted(name), " is not a class number from 0 to ", kMaxClasses - 1));
    }
    if (!labels.emplace(name, label.as_integer()).second) throw Error(text(quoted(name), " is labelled twice"));
  }
  return labels;
}

Labels match(std::unordered_map<std::string, std::int64_t> pairs, const std::vector<std::string>& names) {
  Labels labels;
  std::vector<std::string> unlabelled;
  for (const std::string& name : names) {
    const auto found = pairs.find(name);
    if (found == pairs.end()) {
      unlabelled.push_back(name);
      continue;
    }
    labels.values.push_back(found->second);
    labels.num_classes = std::max(labels.num_classes, found->second + 1);
    pairs.erase(found);
  }
  std::vector<std::string> unknown;
  for (const auto& [name, label] : pairs) unknown.push_back(name);
  if (!unknown.empty()) throw Error(text("labels files that are not images of the data set: ", some_of(unknown)));
  if (!unlabelled.empty()) throw Error(text("has no label for ", some_of(unlabelled)));
  return labels;
}

}  // namespace

std::uint64_t json_limit(const std::vector<std::string>& names) {
  std::uint64_t limit = 1 << 20;
  for (const std::string& name : names) limit += 6 * name.size() + 256;  // each character as \uXXXX, and white space
  return limit;
}

Labels labels_from_json(std::string_view json, const std::vector<std::string>& names, const std::string& source) {
  try {
    const Value root = from_json(json);
    if (!root.is_table()) throw Error("is not a JSON object");
    const Value* list = root.find("labels");
    if (list == nullptr || list->is_null()) return {};
    return match(read_pairs(*list), names);
  } catch (const Error& error) {
    throw Error(text(source, ": ", error.what()));
  }
}

Labels labels_from_numbers(std::vector<std::int64_t> numbers, std::int64_t count, std::int64_t first, std::int64_t most,
                           const std::string& source) {
  if (std::ssize(numbers) != count) {
    throw Error(text(source, " has ", numbers.size(), " labels for ", count, " images"));
  }
  const std::int64_t last = first + (most > 0 ? most : kMaxClasses) - 1;
  Labels labels{std::move(numbers), most};
  for (std::size_t i = 0; i < labels.values.size(); ++i) {
    std::int64_t& label = labels.values[i];
    if (label < first || label > last) {
      throw Error(text(source, ": the label of image ", i, " is ", label, "; expected class numbers from ", first,
                       " to ", last));
    }
    label -= first;
    labels.num_classes = std::max(labels.num_classes, label + 1);
  }
  return labels;
}

std::string classes_without_images(const Labels& labels, const std::vector<std::int64_t>& images) {
  constexpr std::size_t kMostNamed = 5;
  if (labels.values.empty()) return "";
  std::vector<bool> is_seen(static_cast<std::size_t>(labels.num_classes));
  for (const std::int64_t image : images) is_seen[static_cast<std::size_t>(labels.at(image))] = true;
  std::vector<std::string> empty;
  for (std::size_t i = 0; i < is_seen.size(); ++i) {
    if (!is_seen[i]) empty.push_back(std::to_string(i));
  }
  if (empty.empty()) return "";
  const std::size_t rest = empty.size() - std::min(empty.size(), kMostNamed);
  const char* const classes = empty.size() == 1 ? "class " : "the classes ";
  empty.resize(empty.size() - rest);
  return text("no image is of ", classes, join(empty, ", "), rest > 0 ? text(" and ", rest, " more") : "");
}

Labels labels_from_folders(const std::vector<std::string>& names, const std::string& source) {
  std::map<std::string, std::int64_t> classes;
  for (const std::string& name : names) {
    const std::size_t end = name.find('/');
    if (end == std::string::npos) {
      throw Error(
          text(source, ": ", name, " is not in a sub-folder, so it has no class; use labels = \"none\" or move it"));
    }
    classes.emplace(name.substr(0, end), 0);
  }
  Labels labels;
  for (auto& [folder, label] : classes) label = labels.num_classes++;
  for (const std::string& name : names) labels.values.push_back(classes.at(name.substr(0, name.find('/'))));
  return labels;
}

}  // namespace casdm::dataset_images
