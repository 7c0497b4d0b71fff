#include "framework/config/problems.h"

#include <algorithm>
#include <tuple>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/key_path.h"
#include "framework/config/limits.h"

namespace casdm {

void Problems::add(const Location& location, const std::string& message) {
  if (problems_.size() == kMostProblems) {
    ++left_out_;
  } else {
    problems_.push_back({location, placed(location, message)});
  }
}

void Problems::add_at(const Value& experiment, const std::string& path, const std::string& message) {
  Location location;
  for (std::string above = path; location.file.empty() && !above.empty();) {
    if (const Value* value = find_path(experiment, above)) location = value->location();
    above.resize(above.find('.') == std::string::npos ? 0 : above.rfind('.'));
  }
  location.key = path;
  add(location, message);
}

void Problems::finish() {
  if (problems_.empty()) return;
  std::stable_sort(problems_.begin(), problems_.end(), [](const Problem& a, const Problem& b) {
    return std::tie(a.location.file, a.location.line, a.location.column) <
           std::tie(b.location.file, b.location.line, b.location.column);
  });
  if (problems_.size() == 1) throw ConfigError(problems_.front().message);
  std::string all = text(problems_.size() + left_out_, " problems", left_out_ > 0 ? ", the first of them:" : ":");
  std::vector<std::string> tails;
  for (std::size_t i = 0; i < problems_.size(); ++i) {
    // The lines after the first (where components were searched) are often the same and are printed once.
    const std::string& message = problems_[i].message;
    const std::size_t newline = std::min(message.find('\n'), message.size());
    const std::string tail = message.substr(newline);
    if (std::find(tails.begin(), tails.end(), tail) == tails.end()) tails.push_back(tail);
    all += text("\n  ", i + 1, ". ", message.substr(0, newline));
  }
  all += join(tails, "");
  throw ConfigError(all);
}

}  // namespace casdm
