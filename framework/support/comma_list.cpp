#include "framework/support/comma_list.h"

#include <algorithm>

namespace casdm {

namespace {

/// Where the value that begins at `start` ends: at a comma, or at the end of the list.
std::size_t end_of_value(const std::string& list, std::size_t start,
                         const std::function<bool(const std::string&)>& is_file) {
  const std::size_t first = std::min(list.find(',', start), list.size());
  if (is_file == nullptr) return first;
  for (std::size_t end = list.size(); end > first; end = list.rfind(',', end - 1)) {
    if (is_file(list.substr(start, end - start))) return end;
  }
  return first;
}

}  // namespace

std::vector<std::string> values_of_list(const std::string& list,
                                        const std::function<bool(const std::string&)>& is_file) {
  std::vector<std::string> values;
  for (std::size_t start = 0; start <= list.size();) {
    const std::size_t end = end_of_value(list, start, is_file);
    values.push_back(list.substr(start, end - start));
    start = end + 1;
  }
  return values;
}

}  // namespace casdm
