#pragma once

#include <boost/program_options.hpp>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace casdm {

/// One subcommand's arguments: --help lists the `visible` options; arguments that are not options fill the
/// `positional` names in order.
struct ArgumentRules {
  std::string command;  ///< "config", for messages
  std::string usage;    ///< what --help prints above the options
  boost::program_options::options_description visible{"options"};
  std::vector<std::string> positional;
  bool takes_many = false;  ///< the last positional name takes all remaining arguments
};

/// Returns the parsed arguments, or nothing after printing --help to stdout. Options cannot be abbreviated. Throws
/// ConfigError on wrong use, with a pointer to --help.
std::optional<boost::program_options::variables_map> parse_arguments(ArgumentRules rules,
                                                                     const std::vector<std::string>& arguments);

/// Like parse_arguments, for options bound to variables, which it sets; `visible` includes the positional names.
/// Returns false after printing --help.
bool fill_arguments(ArgumentRules rules, const std::vector<std::string>& arguments);

/// The largest number of images that a command draws.
constexpr std::int64_t kMostSamples = 1000000000;

/// An option for `add_options` that takes a whole number. `target` stays empty unless the option is given; an argument
/// that is not a whole number in [least, most] is refused with a message that says what is allowed.
boost::program_options::typed_value<std::string>* whole_number(
    const std::string& name, std::optional<std::int64_t>& target, std::int64_t least,
    std::int64_t most = std::numeric_limits<std::int64_t>::max());

/// Like whole_number, for a finite number above `above`, such as 0.08.
boost::program_options::typed_value<std::string>* real_number(const std::string& name, std::optional<double>& target,
                                                              double above);

/// An option whose value is checked later, like one of --set; `target` stays empty unless the option is given.
boost::program_options::typed_value<std::string>* unparsed(std::optional<std::string>& target, const char* placeholder);

/// The values of a positional or repeated string option; empty when absent.
std::vector<std::string> values(const boost::program_options::variables_map& parsed, const std::string& name);

/// The positional argument "verb". Throws ConfigError if it is not one of `verbs`.
std::string chosen_verb(const boost::program_options::variables_map& parsed, const std::string& command,
                        const std::vector<std::string>& verbs);

/// The value of an option. Throws ConfigError if it was not given.
std::string word(const boost::program_options::variables_map& parsed, const std::string& name,
                 const std::string& command);

}  // namespace casdm
