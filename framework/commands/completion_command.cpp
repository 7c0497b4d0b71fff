#include <algorithm>
#include <iostream>
#include <map>
#include <set>
#include <sstream>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/commands/arguments.h"
#include "framework/commands/commands.h"
#include "framework/config/experiment.h"
#include "framework/config/merge.h"
#include "framework/loading/discovery.h"

namespace casdm {

namespace {

constexpr const char* kCompletionUsage = R"(usage: casdm completion bash|zsh|fish

Prints a script that lets a shell complete commands, options, the keys of --set with their values, and the names of
components. It covers the plugins found when it is printed: print it again when they change.

  bash:  casdm completion bash > ~/.local/share/bash-completion/completions/casdm
  zsh:   casdm completion zsh > ~/.casdm-completion.zsh, and in ~/.zshrc: source ~/.casdm-completion.zsh
         (or write it to a file _casdm in a folder of $fpath)
  fish:  casdm completion fish > ~/.config/fish/completions/casdm.fish
)";

constexpr int kDeepest = 4;  // components within components

struct CommandOption {
  std::string name;  ///< "--num"
  bool takes_value = false;
  std::string about;
};

struct CompletedVerb {
  std::string name;
  std::vector<CommandOption> options;
};

struct CompletedCommand {
  std::string name;
  std::vector<CompletedVerb> verbs;
  std::vector<CommandOption> options;  ///< those of its verbs, where it has any
};

/// The options of a command, as its --help lists them.
std::vector<CommandOption> options_of(const std::string& help) {
  std::vector<CommandOption> options;
  std::istringstream lines(help);
  bool is_list = false;
  for (std::string line; std::getline(lines, line);) {
    is_list = is_list || line == "options:";
    const std::string::size_type dashes = line.find("--");
    // "  -h [ --help ]      print this", "  --num N      images to judge"
    const bool begins_option = is_list && dashes != std::string::npos && line.starts_with("  -") && dashes < 10;
    if (!begins_option) continue;
    CommandOption option;
    const std::string::size_type end = line.find(' ', dashes);
    option.name = line.substr(dashes, end == std::string::npos ? end : end - dashes);
    std::string rest = end == std::string::npos ? "" : line.substr(end);
    if (rest.starts_with(" ]")) rest.erase(0, 2);
    option.takes_value = rest.size() > 1 && rest[1] != ' ';
    const std::string::size_type gap = rest.find("  ");
    if (gap != std::string::npos) {
      const std::string::size_type first = rest.find_first_not_of(' ', gap);
      if (first != std::string::npos) option.about = rest.substr(first);
    }
    options.push_back(std::move(option));
  }
  return options;
}

/// Those of a command's options that `verb` takes: a description may begin with the names of some, "show, check: ...".
std::vector<CommandOption> options_of_verb(const std::vector<CommandOption>& options, const std::string& verb,
                                           const std::vector<std::string>& verbs) {
  const auto is_other = [&](const CommandOption& option) {
    std::istringstream words(option.about.substr(0, option.about.find(": ")));
    bool is_own = false;
    for (std::string word; words >> word;) {
      if (word.ends_with(',')) word.pop_back();
      if (std::count(verbs.begin(), verbs.end(), word) == 0) return false;  // they are no names of verbs
      is_own = is_own || word == verb;
    }
    return !is_own;
  };
  std::vector<CommandOption> result = options;
  std::erase_if(result, is_other);
  return result;
}

/// The keys that --set accepts, with their known values.
class Keys {
 public:
  explicit Keys(const ComponentCatalog& catalog) : catalog_(catalog) { add(host_schema(), "", 0); }

  const std::map<std::string, std::set<std::string>>& all() const { return keys_; }

 private:
  void add(const OptionSchema& schema, const std::string& prefix, int depth) {
    for (const OptionSpec& option : schema) add(option, prefix + option.name, depth);
  }

  void add(const OptionSpec& option, const std::string& key, int depth) {
    if (!option.element.empty() && option.element.front().type == OptionType::table) {
      return add(option.element.front(), key + "[0]", depth);
    }
    if (option.type != OptionType::table) {
      std::set<std::string>& values = keys_[key];
      for (const Value& value : option.allowed) {
        values.insert(value.is_string() ? value.as_string() : std::to_string(value.as_integer()));
      }
      if (option.type == OptionType::boolean) values.insert({"true", "false"});
      return;
    }
    add(option.fields, key + ".", depth);
    if (option.component_kind.empty() || depth == kDeepest) return;
    for (const std::string& name : catalog_.names(option.component_kind)) {
      keys_[key + ".type"].insert(name);
      add(catalog_.component(option.component_kind, name).options, key + ".", depth + 1);
    }
  }

  const ComponentCatalog& catalog_;
  std::map<std::string, std::set<std::string>> keys_;
};

/// Quoted with single quotes, for any shell.
std::string quoted_word(const std::string& word) {
  std::string result = "'";
  for (const char c : printable(word)) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

/// Shells expand the words of a list once more: those that they would take for anything but a word are left out.
std::string list_of(std::vector<std::string> words) {
  std::erase_if(words, [](const std::string& word) {
    return word.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.,:=/+[]") !=
           std::string::npos;
  });
  return quoted_word(join(words, " "));
}

/// Of options or verbs.
template <class Named>
std::vector<std::string> names_of(const std::vector<Named>& all) {
  std::vector<std::string> names;
  names.reserve(all.size());
  for (const Named& one : all) names.push_back(one.name);
  return names;
}

/// Functions that fill COMPREPLY, for bash and zsh: `_casdm_words` completes a command line.
std::string word_functions(const std::vector<CompletedCommand>& commands, const std::vector<CommandOption>& common,
                           const Keys& keys, const std::vector<std::string>& components) {
  std::vector<std::string> names, assignments;
  const std::vector<std::string> common_names = names_of(common);
  std::string options, values;
  const auto all_of = [&](const std::vector<CommandOption>& own) {
    std::vector<std::string> all = names_of(own);
    all.insert(all.end(), common_names.begin(), common_names.end());
    return list_of(all);
  };
  for (const CompletedCommand& command : commands) {
    names.push_back(command.name);
    for (const CompletedVerb& verb : command.verbs) {
      options += text("    '", command.name, " ", verb.name, "') options=", all_of(verb.options), " ;;\n");
    }
    options += text("    '", command.name, " '*) verbs=", list_of(names_of(command.verbs)),
                    " options=", all_of(command.options), " ;;\n");
  }
  for (const auto& [key, known] : keys.all()) {
    assignments.push_back(key + "=");
    if (!known.empty()) {
      values += text("    ", quoted_word(key), ") values=", list_of({known.begin(), known.end()}), " ;;\n");
    }
  }
  return text(R"(_casdm_reply() {
  local line
  COMPREPLY=()
  while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -W "$1" -- "$2")
}

_casdm_values() {
  local values=
  case $1 in
)",
              values, R"(  esac
  _casdm_reply "$values" "$2"
}

_casdm_words() {
  local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} verbs= options=
  COMPREPLY=()
  if ((COMP_CWORD == 1)) && [[ $current == -* ]]; then
    _casdm_reply )",
              list_of(common_names), R"( "$current"
    return
  elif ((COMP_CWORD == 1)); then
    _casdm_reply )",
              list_of(names), R"( "$current"
    return
  fi
  # = stands alone among the words.
  if [[ $current == = ]]; then _casdm_values "$before" "" && return; fi
  if [[ $before == = ]]; then _casdm_values "${COMP_WORDS[COMP_CWORD-2]}" "$current" && return; fi
  if [[ $before == --set && ${COMP_WORDS[1]} != plugins ]]; then
    compopt -o nospace 2>/dev/null
    _casdm_reply )",
              list_of(assignments), R"( "$current"
    return
  fi
  case "${COMP_WORDS[1]} ${COMP_WORDS[2]}" in
)",
              options, R"(  esac
  if [[ $current == -* ]]; then
    _casdm_reply "$options" "$current"
  elif ((COMP_CWORD == 2)) && [[ -n $verbs ]]; then
    _casdm_reply "$verbs" "$current"
  elif ((COMP_CWORD == 3)) && [[ "${COMP_WORDS[1]} ${COMP_WORDS[2]}" == "plugins inspect" ]]; then
    _casdm_reply )",
              list_of(components), R"( "$current"
  fi
}
)");
}

std::string bash_script(const std::string& functions) {
  return text("# Printed by `casdm completion`.\n", functions, "complete -o default -F _casdm_words casdm\n");
}

/// To be sourced, or to be found as _casdm in $fpath. zsh leaves KEY=VALUE as one word; bash splits it into three.
std::string zsh_script(const std::string& functions) {
  return text(R"(#compdef casdm
# Printed by `casdm completion`.
)",
              functions, R"(
_casdm_split() {
  local word=${COMP_WORDS[COMP_CWORD]} key=
  if [[ $word == *=* ]]; then
    key=${word%%=*}=
    COMP_WORDS=("${COMP_WORDS[@]:0:$COMP_CWORD}" "${key%=}" = "${word#*=}")
    COMP_CWORD=$((COMP_CWORD + 2))
  fi
  _casdm_words
  if ((${#COMPREPLY[@]} > 0)); then COMPREPLY=("${COMPREPLY[@]/#/$key}"); fi
}

autoload -U +X bashcompinit && bashcompinit
if [[ ${funcstack[1]} == _casdm ]]; then
  _bash_complete -o default -F _casdm_split
else
  if ! whence compdef >/dev/null; then autoload -U +X compinit && compinit; fi
  complete -o default -F _casdm_split casdm
fi
)");
}

/// The --set of `plugins` has other keys than an experiment's.
std::string fish_options(const std::string& here, const std::vector<CommandOption>& options) {
  std::string result;
  for (const CommandOption& option : options) {
    if (option.name == "--set" && here.find(" plugins;") == std::string::npos) {
      result += text(here, " -l set -x -a \"$casdm_keys\" -d 'set one key of the experiment'\n");
      continue;
    }
    result += text(here, " -l ", option.name.substr(2), option.takes_value ? " -r" : "", " -d ",
                   quoted_word(option.about), "\n");
  }
  return result;
}

std::string fish_script(const std::vector<CompletedCommand>& commands, const std::vector<CommandOption>& common,
                        const Keys& keys, const std::vector<std::string>& components) {
  std::vector<std::string> names, assignments;
  std::string result = fish_options("complete -c casdm", common);
  for (const CompletedCommand& command : commands) {
    names.push_back(command.name);
    const std::string here = text("complete -c casdm -n '__fish_seen_subcommand_from ", command.name, "'");
    if (!command.verbs.empty()) result += text(here, " -f -a ", list_of(names_of(command.verbs)), "\n");
    for (const CompletedVerb& verb : command.verbs) {
      result += fish_options(
          text(here.substr(0, here.size() - 1), "; and __fish_seen_subcommand_from ", verb.name, "'"), verb.options);
    }
    if (command.verbs.empty()) result += fish_options(here, command.options);
  }
  for (const auto& [key, known] : keys.all()) {
    assignments.push_back(key + "=");
    for (const std::string& value : known) assignments.push_back(text(key, "=", value));
  }
  return text("# Printed by `casdm completion`.\nset -g casdm_keys ", list_of(assignments),
              "\ncomplete -c casdm -n __fish_use_subcommand -f -a ", list_of(names), "\n", result,
              "complete -c casdm -n '__fish_seen_subcommand_from inspect' -f -a ", list_of(components), "\n");
}

}  // namespace

int completion_command(const std::vector<std::string>& arguments, const std::vector<CommandName>& commands,
                       const std::function<void(const std::vector<std::string>&)>& print_help) {
  ArgumentRules rules;
  rules.command = "completion";
  rules.usage = kCompletionUsage;
  rules.positional = {"verb"};
  const auto parsed = parse_arguments(rules, arguments);
  if (!parsed) return 0;
  const std::string shell = chosen_verb(*parsed, "completion", {"bash", "zsh", "fish"});

  const auto help_of = [&](const std::vector<std::string>& words) {
    std::ostringstream help;
    std::streambuf* const before = std::cout.rdbuf(help.rdbuf());
    try {
      print_help(words);
    } catch (const std::exception& error) {
      std::cerr << "the options of `casdm " << join(words, " ") << "` are left out: " << error.what() << '\n';
    }
    std::cout.rdbuf(before);
    return help.str();
  };
  std::vector<CompletedCommand> all;
  for (const CommandName& command : commands) {
    CompletedCommand& added = all.emplace_back();
    added.name = command.name;
    added.options = options_of(help_of({command.name}));
    for (const std::string& verb : command.verbs) {
      const std::vector<CommandOption> options = options_of(help_of({command.name, verb}));
      added.verbs.push_back({verb, options_of_verb(options, verb, command.verbs)});
    }
  }
  const std::vector<CommandOption> common = options_of("options:\n" + help_of({}));
  const PluginCatalog catalog = PluginCatalog::discover({});
  const Keys keys(catalog);
  std::set<std::string> components;
  for (const FoundPlugin& plugin : catalog.plugins()) {
    if (!plugin.problem.empty()) continue;
    components.insert(plugin.description.info.id);
    for (const ComponentEntry& component : plugin.description.components) components.insert(component.name);
  }
  const std::vector<std::string> names(components.begin(), components.end());
  if (shell == "fish") {
    std::cout << fish_script(all, common, keys, names);
  } else {
    const std::string functions = word_functions(all, common, keys, names);
    std::cout << (shell == "zsh" ? zsh_script(functions) : bash_script(functions));
  }
  return 0;
}

}  // namespace casdm
