#include "casdm/choice.h"

#include <algorithm>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm::detail {

std::size_t index_of_choice(const Value& word, const std::vector<Value>& words) {
  const auto found = std::find(words.begin(), words.end(), word);
  if (found != words.end()) return static_cast<std::size_t>(found - words.begin());
  const Location& location = word.location();
  const std::string place = to_string(location);
  std::vector<std::string> names;
  for (const Value& name : words) names.push_back(to_json(name));
  throw ConfigError(text(place, place.empty() ? "" : ": ", location.key, location.key.empty() ? "" : ": ",
                         "expected one of ", join(names, ", "), ", got ", to_json(word)));
}

}  // namespace casdm::detail
