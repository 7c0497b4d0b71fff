#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "casdm/options.h"

/// How messages, starters and `plugins inspect` describe options.
namespace casdm {

/// What a value for `spec` must be: "an integer in 1..1024", "one of \"a\", \"b\"".
std::string expected(const OptionSpec& spec);

/// What was found instead: "\"64\" (a string)"; long strings are cut.
std::string got(const Value& value);

/// What is known of an option beside its documentation: what it takes with its unit, "default 64" or
/// "required", "for example 32, 128".
std::vector<std::string> option_facts(const OptionSpec& spec);

/// `content` with newlines in place of spaces, so that no line has more than `width` characters; a longer word gets
/// its own line.
std::string wrapped(const std::string& content, std::size_t width);

/// "an optimizer", "a sampler".
std::string with_article(std::string_view noun);

/// `"a", "b", "c"`.
std::string quoted_list(const std::vector<std::string>& items);

/// "[train]", "[[metrics]]": how the table at a key path ("train", "metrics.0") is written.
std::string table_name(const std::string& key);

/// The spec of an array's elements. Limits and choices written on the array are meant for them.
OptionSpec element_of(const OptionSpec& spec);

}  // namespace casdm
