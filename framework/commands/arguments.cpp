#include "framework/commands/arguments.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iostream>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace po = boost::program_options;

namespace {

constexpr std::size_t kLongestMessage = 300;
constexpr std::size_t kLongestWord = 60;

/// Throws ConfigError if an option has an empty value, as in `--out "$FOLDER"` where FOLDER is not set.
void refuse_empty(const std::string& command, const po::parsed_options& given) {
  for (const po::option& option : given.options) {
    if (option.position_key != -1 || option.value.empty() || !option.value.front().empty()) continue;
    throw ConfigError(text(command, ": --", option.string_key, " is empty; give a value, or leave the option out"));
  }
}

/// Parses `arguments` as options of `all` and sets the variables bound to them; false after --help was printed.
bool parse(const ArgumentRules& rules, const po::options_description& all, const std::vector<std::string>& arguments,
           po::variables_map& parsed) {
  po::positional_options_description positional;
  for (const std::string& name : rules.positional) {
    positional.add(name.c_str(), rules.takes_many && name == rules.positional.back() ? -1 : 1);
  }
  try {
    const int style = po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;
    const po::parsed_options given =
        po::command_line_parser(arguments).options(all).positional(positional).style(style).run();
    refuse_empty(rules.command, given);
    po::store(given, parsed);
    po::notify(parsed);
    if (parsed.count("help") == 0) return true;
  } catch (const po::unknown_option& error) {
    std::vector<std::string> names;
    for (const auto& option : rules.visible.options()) names.push_back("--" + option->long_name());
    const std::string given = error.get_option_name().substr(0, error.get_option_name().find('='));
    const std::vector<std::string> near = nearest(given, names, 1);
    throw ConfigError(text(rules.command, ": there is no option ", quoted(given, kLongestWord),
                           near.empty() ? "; see" : text("; did you mean ", near[0], "? See"), " `casdm ",
                           rules.command, " --help`"));
  } catch (const po::error& error) {
    const std::string_view message = error.what();  // contains the argument itself
    throw ConfigError(text(rules.command, ": ", message.substr(0, kLongestMessage),
                           message.size() > kLongestMessage ? "..." : "", "; see `casdm ", rules.command, " --help`"));
  }
  std::cout << rules.usage << '\n' << rules.visible;
  return false;
}

}  // namespace

std::optional<po::variables_map> parse_arguments(ArgumentRules rules, const std::vector<std::string>& arguments) {
  rules.visible.add_options()("help,h", "print this help");
  po::options_description all;
  all.add(rules.visible);
  for (const std::string& name : rules.positional) {
    all.add_options()(name.c_str(), po::value<std::vector<std::string>>());
  }
  po::variables_map parsed;
  if (!parse(rules, all, arguments, parsed)) return std::nullopt;
  return parsed;
}

bool fill_arguments(ArgumentRules rules, const std::vector<std::string>& arguments) {
  rules.visible.add_options()("help,h", "print this help");
  po::variables_map parsed;
  return parse(rules, rules.visible, arguments, parsed);
}

namespace {

/// `written` as a number of type T; nothing if any character is left over.
template <class T>
std::optional<T> parsed_number(const std::string& written) {
  T value{};
  const char* end = written.data() + written.size();
  const auto [rest, failure] = std::from_chars(written.data(), end, value);
  if (failure != std::errc() || rest != end) return std::nullopt;
  return value;
}

/// An option whose value is parsed by `parse`, which throws if it is not valid.
template <class T, class Parse>
po::typed_value<std::string>* number_option(const std::string& name, std::optional<T>& target, const char* placeholder,
                                            const std::string& allowed, Parse parse) {
  return po::value<std::string>()->value_name(placeholder)->notifier([=, &target](const std::string& written) {
    target = parse(written);
    if (!target) throw po::error(text("--", name, ": expected ", allowed, ", got ", quoted(written, kLongestWord)));
  });
}

}  // namespace

po::typed_value<std::string>* whole_number(const std::string& name, std::optional<std::int64_t>& target,
                                           std::int64_t least, std::int64_t most) {
  const bool is_bounded = most != std::numeric_limits<std::int64_t>::max();
  const std::string allowed = is_bounded ? text("a whole number from ", least, " to ", most)
                                         : text("a whole number of at least ", least, " and at most ", most);
  return number_option(name, target, "N", allowed, [=](const std::string& written) {
    const auto value = parsed_number<std::int64_t>(written);
    return value && *value >= least && *value <= most ? value : std::nullopt;
  });
}

po::typed_value<std::string>* real_number(const std::string& name, std::optional<double>& target, double above) {
  return number_option(name, target, "X", text("a number above ", number(above)), [=](const std::string& written) {
    const auto value = parsed_number<double>(written);
    return value && std::isfinite(*value) && *value > above ? value : std::nullopt;
  });
}

po::typed_value<std::string>* unparsed(std::optional<std::string>& target, const char* placeholder) {
  return po::value<std::string>()->value_name(placeholder)->notifier([&](const std::string& value) { target = value; });
}

std::vector<std::string> values(const po::variables_map& parsed, const std::string& name) {
  return parsed.count(name) > 0 ? parsed[name].as<std::vector<std::string>>() : std::vector<std::string>();
}

std::string chosen_verb(const po::variables_map& parsed, const std::string& command,
                        const std::vector<std::string>& verbs) {
  const std::vector<std::string> found = values(parsed, "verb");
  if (!found.empty() && std::find(verbs.begin(), verbs.end(), found.front()) != verbs.end()) return found.front();
  std::string message = text(command, ": expected ");
  for (std::size_t i = 0; i < verbs.size(); ++i) {
    message += text(i == 0 ? "" : i + 1 < verbs.size() ? ", " : " or ", verbs[i]);
  }
  if (found.empty()) throw ConfigError(text(message, "; see `casdm ", command, " --help`"));
  const std::vector<std::string> near = nearest(found.front(), verbs, 1);
  const std::string hint = near.empty() ? "; see" : text("; did you mean '", near.front(), "'? See");
  throw ConfigError(text(message, ", got ", quoted(found.front()), hint, " `casdm ", command, " --help`"));
}

std::string word(const po::variables_map& parsed, const std::string& name, const std::string& command) {
  const std::vector<std::string> found = values(parsed, name);
  if (found.empty()) throw ConfigError(text(command, ": ", name, " is missing; see `casdm ", command, " --help`"));
  return found.front();
}

}  // namespace casdm
