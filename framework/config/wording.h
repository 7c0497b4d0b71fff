#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "casdm/options.h"

/// How messages, starters and `plugins inspect` describe options.
namespace casdm {

/// What a value for `spec` must be: "an integer in 1..1024", "one of \"a\", \"b\"".
std::string expected(const OptionSpec& spec);

/// What was found instead: "\"64\" (a string)"; long strings are shortened.
std::string got(const Value& value);

/// What is known about an option besides its documentation: its allowed values with unit, "default 64" or "required",
/// "for example 32, 128".
std::vector<std::string> option_facts(const OptionSpec& spec);

/// `content` with some spaces replaced by newlines, so that no line is longer than `width` characters; a longer word
/// gets its own line.
std::string wrapped(const std::string& content, std::size_t width);

/// "an optimizer", "a sampler".
std::string with_article(std::string_view noun);

/// `"a", "b", "c"`.
std::string quoted_list(const std::vector<std::string>& items);

/// "[train]", "[[metrics]]": how the table at a key path ("train", "metrics.0") is written.
std::string table_name(const std::string& key);

/// "NAME (plugin ID)" of a component's full name, "ID/NAME".
std::string with_plugin(const std::string& full_name);

/// Why `option` of the component `owner`, as `with_plugin` writes it, is refused where kDeepestComponents components
/// are already inside one another.
std::string nested_too_deeply(const OptionSpec& option, const std::string& owner);

/// The spec of an array's elements. The array's name, and the limits and choices given for it, apply to its elements.
OptionSpec element_of(const OptionSpec& spec);

}  // namespace casdm
