#include "framework/comparison/sweep_evaluation.h"

#include <algorithm>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/key_path.h"
#include "framework/config/problems.h"
#include "framework/support/files.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr const char* kConfig = "--config";

/// Options that take a value, and those that are one.
const std::vector<std::string> kWithValue = {
    kConfig,  "--num",   "--weights", "--guidance",  "--steps",    "--sampler", "--eta",     "--set",
    "--seed", "--batch", "--label",   "--reference", "--held-out", "--device",  "--nearest", "--nearest-by"};
const std::vector<std::string> kFlags = {"--floor", "--no-cache"};
/// What only the user may say.
const std::vector<std::string> kOfTheUser = {"--plugin", "--write-reference", "--out",           "--state",
                                             "--json",   "--overwrite",       "--allow-rebuilt", "--trust-plugins"};

bool is_in(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

struct Option {
  std::string name;
  std::string value;
  std::size_t index = 0;  ///< of its first word
};

std::string why_not(const std::string& name) {
  if (is_in(kOfTheUser, name)) {
    return text(quoted(name), " cannot stand in a sweep file",
                name == "--plugin" ? "; give it to the command: casdm sweep --plugin FILE" : "");
  }
  std::vector<std::string> known = kWithValue;
  known.insert(known.end(), kFlags.begin(), kFlags.end());
  const std::vector<std::string> near = nearest(name, known, 1);
  return text("expected an option of `casdm evaluate`, got ", quoted(name),
              near.empty() ? "; `casdm evaluate --help` lists them" : text("; did you mean '", near.front(), "'?"));
}

/// The options in `words`. `fail(index, why)` is called where a word is none.
template <class Fail>
std::vector<Option> options_in(const std::vector<std::string>& words, const Fail& fail) {
  std::vector<Option> options;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::size_t equals = words[i].find('=');
    Option option{words[i].substr(0, equals), equals == std::string::npos ? "" : words[i].substr(equals + 1), i};
    const bool takes_value = is_in(kWithValue, option.name);
    if (!takes_value && (!is_in(kFlags, option.name) || equals != std::string::npos)) {
      fail(i, why_not(option.name));
      continue;
    }
    if (takes_value && equals == std::string::npos) {
      if (i + 1 == words.size()) {
        fail(i, text(quoted(option.name), " needs a value after it"));
        break;
      }
      option.value = words[++i];
    }
    options.push_back(std::move(option));
  }
  return options;
}

}  // namespace

void check_evaluation(const std::vector<std::string>& words, const Value& document) {
  Problems problems;
  const auto fail = [&](std::size_t index, const std::string& why) {
    const Value* word = find_path(document, text("evaluate.", index));
    problems.add(word == nullptr ? document.location() : word->location(), why);
  };
  for (const Option& option : options_in(words, fail)) {
    std::error_code ignored;
    if (option.name == kConfig && !fs::exists(option.value, ignored)) {
      fail(option.index, text(kConfig, ": there is no ", quoted(option.value)));
    }
  }
  problems.finish();
}

Value evaluation_of(const Sweep& sweep) {
  if (!sweep.evaluate) return {};
  Value::Array result(sweep.evaluate->begin(), sweep.evaluate->end());
  for (const Option& option : options_in(*sweep.evaluate, [](std::size_t, const std::string&) {})) {
    std::error_code ignored;
    if (option.name != kConfig || !fs::is_regular_file(option.value, ignored)) continue;
    result.emplace_back(sha256_of_file(option.value));
  }
  return Value(std::move(result));
}

}  // namespace casdm
