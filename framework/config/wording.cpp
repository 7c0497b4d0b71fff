#include "framework/config/wording.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "casdm/text.h"
#include "framework/config/document.h"
#include "framework/config/limits.h"
#include "framework/support/component_name.h"
#include "framework/support/number_format.h"

namespace casdm {

namespace {

constexpr std::size_t kLongestShown = 60;

std::string limits(const OptionSpec& spec) {
  if (spec.minimum && spec.maximum && !spec.exclusive_minimum && !spec.exclusive_maximum) {
    return text(" in ", limit(*spec.minimum), "..", limit(*spec.maximum));
  }
  std::string result;
  if (spec.minimum) result = text(spec.exclusive_minimum ? " greater than " : " of at least ", limit(*spec.minimum));
  if (spec.maximum && spec.exclusive_maximum) {
    result += text(spec.minimum ? " and" : "", " less than ", limit(*spec.maximum));
  } else if (spec.maximum) {
    result += text(spec.minimum ? " and" : " of", " at most ", limit(*spec.maximum));
  }
  return result;
}

/// Counts the UTF-8 bytes that do not continue a character.
std::size_t characters(std::string_view utf8) {
  return static_cast<std::size_t>(
      std::count_if(utf8.begin(), utf8.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

/// A whole number, with or without a suffix, that exceeds all integers, so it was read as a string.
bool is_beyond_integers(std::string word) {
  double factor = 1;
  for (const auto& [suffix, value] : {std::pair{'k', 1e3}, {'M', 1e6}, {'G', 1e9}}) {
    if (word.ends_with(suffix)) factor = value;
  }
  if (factor > 1) word.pop_back();
  const std::size_t sign = word.starts_with('-') || word.starts_with('+') ? 1 : 0;
  const bool is_whole = word.size() > sign && word.find_first_not_of("0123456789", sign) == std::string::npos;
  return is_whole && std::abs(std::strtod(word.c_str(), nullptr)) * factor >= 9.2e18;
}

/// "integers", or "elements, each an integer in 1..8".
std::string elements(const OptionSpec& element) {
  const bool is_limited = element.minimum || element.maximum || !element.allowed.empty();
  switch (element.type) {
    case OptionType::table:
      return "tables";
    case OptionType::array:
      return "arrays";
    case OptionType::integer:
    case OptionType::number:
    case OptionType::string:
    case OptionType::path:
      if (is_limited) break;
      return element.type == OptionType::number ? "numbers" : text(to_string(element.type), "s");
    case OptionType::boolean:
    case OptionType::count:
      break;
  }
  return text("elements, each ", expected(element));
}

}  // namespace

std::string expected(const OptionSpec& spec) {
  if (!spec.allowed.empty() && (spec.type == OptionType::string || spec.type == OptionType::integer)) {
    std::vector<std::string> choices;
    for (const Value& choice : spec.allowed) choices.push_back(to_toml_value(choice));
    return "one of " + join(choices, ", ");
  }
  switch (spec.type) {
    case OptionType::boolean:
      return "true or false";
    case OptionType::integer:
      return "an integer" + limits(spec);
    case OptionType::number:
      return "a number" + limits(spec);
    case OptionType::count:
      return text("a whole number", limits(spec), ", also as \"200k\" or \"1.5M\"");
    case OptionType::string:
      if (spec.is_file_name) return "a name for a file or folder (at most 200 bytes, no '/', not \".\" or \"..\")";
      return spec.pattern.empty() ? "a string" : text("a string of the form ", spec.pattern);
    case OptionType::path:
      return "a path (a string)";
    case OptionType::table:
      return "a table";
    case OptionType::array:
      break;
  }
  return text("an array of ", spec.length ? text(*spec.length, " ") : "", elements(element_of(spec)));
}

std::string with_article(std::string_view noun) {
  const bool has_vowel = !noun.empty() && std::string_view("aeiou").find(noun.front()) != std::string_view::npos;
  return text(has_vowel ? "an " : "a ", noun);
}

std::string got(const Value& value) {
  if (value.is_null()) return "nothing";
  if (value.is_array()) return "an array";
  if (value.is_table()) return "a table";
  std::string shown = to_toml_value(value);
  if (shown.size() > kLongestShown) {
    std::size_t end = kLongestShown;
    while (end > 0 && (static_cast<unsigned char>(shown[end]) & 0xc0) == 0x80) --end;  // whole UTF-8 characters only
    shown = shown.substr(0, end) + "...\"";
  }
  const bool is_beyond = value.is_string() && is_beyond_integers(value.as_string());
  return text(shown, " (", with_article(value.type_name()), is_beyond ? "; integers end at 9223372036854775807" : "",
              ")");
}

std::vector<std::string> option_facts(const OptionSpec& spec) {
  const bool is_component = !spec.component_kind.empty();
  const std::string unit = spec.unit.empty() ? "" : text(" [", spec.unit, "]");
  std::vector<std::string> facts{is_component ? text("a table with `type`, ", with_article(spec.component_kind))
                                              : text(expected(spec), unit)};
  if (spec.is_required) {
    facts.push_back("required");
  } else if (spec.default_value.is_null()) {
    facts.push_back("no default");
  } else if (spec.type != OptionType::table) {
    facts.push_back(text("default ", to_toml_value(spec.default_value)));
  }
  std::vector<std::string> examples;
  for (const Value& example : spec.examples) examples.push_back(to_toml_value(example));
  if (!examples.empty()) facts.push_back(text("for example ", join(examples, ", ")));
  return facts;
}

std::string wrapped(const std::string& content, std::size_t width) {
  std::string result;
  std::size_t used = 0;
  std::istringstream stream(content);
  for (std::string word; stream >> word;) {
    const std::size_t length = characters(word);
    const bool fits = used > 0 && used + 1 + length <= width;
    if (used > 0) result += fits ? ' ' : '\n';
    used = fits ? used + 1 + length : length;
    result += word;
  }
  return result;
}

std::string quoted_list(const std::vector<std::string>& items) {
  std::vector<std::string> quoted;
  for (const std::string& word : items) quoted.push_back(to_toml_value(word));
  return join(quoted, ", ");
}

std::string table_name(const std::string& key) {
  const std::size_t dot = key.rfind('.');
  const bool is_element = dot != std::string::npos && key.find_first_not_of("0123456789", dot + 1) == std::string::npos;
  return is_element ? text("[[", key.substr(0, dot), "]]") : text("[", key, "]");
}

std::string with_plugin(const std::string& full_name) {
  return text(component_name(full_name), " (plugin ", full_name.substr(0, full_name.find('/')), ")");
}

std::string nested_too_deeply(const OptionSpec& option, const std::string& owner) {
  return text(
      "the option '", option.name, "' of ", owner, " chooses ", with_article(option.component_kind), " where ",
      kDeepestComponents, " components are already inside one another, which is the most. ",
      "If the experiment did not ask for them, the plugin is at fault: an option must not be required, or have ",
      "a default, if that leads to the same component again");
}

OptionSpec element_of(const OptionSpec& spec) {
  OptionSpec element = spec.element.empty() ? OptionSpec{} : spec.element.front();
  element.name = spec.name;
  if (element.allowed.empty()) element.allowed = spec.allowed;
  if (!element.minimum && !element.maximum) {
    element.minimum = spec.minimum;
    element.maximum = spec.maximum;
    element.exclusive_minimum = spec.exclusive_minimum;
    element.exclusive_maximum = spec.exclusive_maximum;
  }
  element.allows_infinite |= spec.allows_infinite;
  element.must_exist |= spec.must_exist;
  return element;
}

}  // namespace casdm
