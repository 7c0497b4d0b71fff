#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "casdm/options.h"

/// Options that are one of a few words, as enums. `choices_of`, declared beside the enum, gives each value its word
/// once: the schema, the reference pages, the JSON Schema, reading, writing and messages take it from there.
///
///     enum class Spacing { leading, linspace, trailing };
///
///     constexpr auto choices_of(Spacing) {
///       using enum Spacing;
///       return casdm::choices<Spacing>({{leading, "leading"}, {linspace, "linspace"}, {trailing, "trailing"}});
///     }
///
///     struct DdimOptions {
///       Spacing spacing = Spacing::leading;
///       ...
///       s.option("spacing", &DdimOptions::spacing, "Which timesteps are kept.");
///       throw casdm::ConfigError(casdm::text("spacing = \"", to_string(options.spacing), "\" ..."));
namespace casdm {

template <class E>
struct Choice {
  E value;
  std::string_view word;
};

template <class E, std::size_t N>
constexpr std::array<Choice<E>, N> choices(const Choice<E> (&list)[N]) {
  return std::to_array(list);
}

/// An enum with `choices_of` in its namespace.
template <class E>
concept Choosable = std::is_enum_v<E> && requires(E value) {
  choices_of(value);
};

/// The word of `value`; empty for a value that has none.
template <Choosable E>
constexpr std::string_view to_string(E value) {
  for (const Choice<E>& choice : choices_of(value)) {
    if (choice.value == value) return choice.word;
  }
  return {};
}

/// The words of some values, for an option that takes no others: `.choices(casdm::words({Net::vgg16, Net::alexnet}))`.
template <Choosable E>
std::vector<std::string> words(std::initializer_list<E> values) {
  std::vector<std::string> result;
  for (const E value : values) result.emplace_back(to_string(value));
  return result;
}

namespace detail {

/// The index of `word` in `words`; throws ConfigError, with its location, when it is not one of them.
CASDM_API std::size_t index_of_choice(const Value& word, const std::vector<Value>& words);

template <Choosable E>
struct OptionTraits<E> {
  static OptionSpec spec() {
    OptionSpec spec;
    for (const Choice<E>& choice : choices_of(E{})) spec.allowed.emplace_back(std::string(choice.word));
    return spec;
  }
  static Value write(E value) { return std::string(to_string(value)); }
  static E read(const Value& value) { return choices_of(E{})[index_of_choice(value, spec().allowed)].value; }
};

}  // namespace detail

}  // namespace casdm
