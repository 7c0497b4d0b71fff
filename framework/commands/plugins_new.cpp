#include "framework/commands/plugins_new.h"

#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <set>

#include "casdm/atomic_file.h"
#include "casdm/error.h"
#include "casdm/text.h"
#include "casdm/value.h"
#include "framework/commands/arguments.h"
#include "framework/loading/kinds.h"
#include "framework/support/files.h"
#include "framework/support/run_contents.h"
#include "framework/support/shell_word.h"

namespace casdm {

namespace fs = std::filesystem;
namespace po = boost::program_options;

namespace {

constexpr const char* kPluginsNewCommand = "plugins new";
constexpr const char* kUsageBefore = R"(usage: casdm plugins new --kind KIND NAME [--out DIR] [--json]

Writes a starting tree for a plugin with one component: source, test, CMakeLists.txt, a README with
the next steps, and an experiment that trains with it, where experiments choose its kind. To build it, an installed
casdm is enough.

NAME is in snake_case; it names the plugin, the component and the folder. KIND is one of

)";
constexpr const char* kUsageAfter = R"(
  casdm plugins new --kind metric charbonnier_fft
)";

/// Names with another meaning in C++, in CMake or in our templates.
const std::set<std::string_view> kReserved = {
    "all",    "casdm",      "clean",         "edit_cache",    "help", "install", "package", "package_source",
    "plugin", "preinstall", "rebuild_cache", "template_name", "test"};

bool is_snake_case(std::string_view name) {
  const auto is_allowed = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
  return !name.empty() && name.front() >= 'a' && name.front() <= 'z' && name.back() != '_' &&
         std::all_of(name.begin(), name.end(), is_allowed) && name.find("__") == std::string_view::npos;
}

std::string camel_case(std::string_view name) {
  std::string result;
  bool is_start = true;
  for (const char c : name) {
    if (c != '_') result += is_start && c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    is_start = c == '_';
  }
  return result;
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

void write_filled_in(const fs::path& source, const fs::path& target, const PluginNames& names) {
  std::ifstream input(source, std::ios::binary);
  const std::string content{std::istreambuf_iterator<char>(input), {}};
  if (!input) throw Error(text(source.string(), " cannot be read; is this casdm installed completely?"));
  write_file(target, filled_in(content, names));
}

/// The installation prefix: this program is <prefix>/bin/casdm.
fs::path prefix() { return fs::read_symlink("/proc/self/exe").parent_path().parent_path(); }

Value described(const fs::path& folder, const PluginNames& names) {
  std::vector<std::string> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) files.push_back(entry.path().filename());
  std::sort(files.begin(), files.end());
  Value value{Value::Table{}};
  value.set("folder", folder.string());
  value.set("kind", names.kind);
  value.set("name", names.name);
  value.set("files", Value::Array(files.begin(), files.end()));
  return value;
}

void print_next_steps(const fs::path& folder, const PluginNames& names) {
  const bool is_installed = fs::exists(prefix() / CASDM_LIBDIR / "cmake" / "casdm" / "casdmConfig.cmake");
  const std::string place = is_installed ? shell_word(prefix().string()) : "<prefix>";
  std::cerr << "created " << folder.string() << "; next:\n"
            << "  cd " << shell_word((folder.native().starts_with('-') ? "." / folder : folder).string()) << '\n'
            << "  cmake -S . -B build -DCMAKE_PREFIX_PATH=" << place << '\n'
            << "  cmake --build build && ctest --test-dir build --output-on-failure\n";
  if (fs::exists(folder / "experiment.toml")) std::cerr << "  casdm train experiment.toml\n";
  if (!is_installed) {
    std::cerr << "<prefix> is where casdm is installed: cmake --install " << shell_word(prefix().string())
              << " --prefix <prefix>\n";
  }
  std::cerr << "The component is in " << names.name << ".cpp.\n";
}

std::string usage() {
  std::string list;
  for (const Kind& kind : kinds()) {
    list += text("  ", kind.name, kind.short_name == kind.name ? "" : text(" or ", kind.short_name), '\n');
  }
  return text(kUsageBefore, list, kUsageAfter);
}

}  // namespace

PluginNames plugin_names(std::string_view kind, std::string_view name) {
  const auto found = std::find_if(kinds().begin(), kinds().end(), [&](const Kind& candidate) {
    return kind == candidate.name || kind == candidate.short_name;
  });
  if (found == kinds().end()) {
    std::vector<std::string> known, candidates;
    for (const Kind& candidate : kinds()) {
      known.emplace_back(candidate.name);
      candidates.emplace_back(candidate.name);
      candidates.emplace_back(candidate.short_name);
    }
    const std::vector<std::string> near = nearest(kind, candidates, 1);
    throw ConfigError(text(kPluginsNewCommand, ": there is no kind '", kind, "'",
                           near.empty() ? "; expected" : text("; did you mean '", near.front(), "'? Expected"),
                           " one of ", join(known, ", ")));
  }
  if (!is_snake_case(name) || kReserved.count(name) > 0) {
    throw ConfigError(text(kPluginsNewCommand, ": '", name,
                           "' cannot name a plugin; expected snake_case such as charbonnier_fft: "
                           "lower-case letters, digits and single underscores, a letter first",
                           kReserved.count(name) > 0 ? text(" (", name, " is reserved)") : ""));
  }
  std::string stem = camel_case(name);
  if (stem.size() > found->suffix.size() && stem.ends_with(found->suffix))
    stem.resize(stem.size() - found->suffix.size());
  return {std::string(found->name), std::string(name), stem};
}

std::string filled_in(std::string text, const PluginNames& names) {
  replace_all(text, "TemplateName", names.class_stem);
  replace_all(text, "template_name", names.name);
  replace_all(text, "template_kind", names.kind);
  return text;
}

void write_plugin_tree(const fs::path& templates, const PluginNames& names, const fs::path& folder) {
  if (fs::exists(fs::symlink_status(folder))) {
    throw ConfigError(text(folder.string(), " exists; choose another name or --out, or remove it"));
  }
  const fs::path own = templates / names.kind;
  std::vector<fs::path> parts = {templates / "common", own};
  // No experiment can choose a component of this kind, so there is nothing to train with.
  if (!fs::exists(own / "experiment.toml")) parts.insert(parts.begin() + 1, templates / "standalone");
  const fs::path above = fs::absolute(folder).parent_path();
  fs::create_directories(above);
  remove_leftovers(above);
  AtomicFolder made(folder);
  std::map<std::string, fs::path> files;
  for (const fs::path& part : parts) {  // a kind's own file takes the place of the common one
    for (const fs::directory_entry& entry : fs::directory_iterator(part)) {
      files[entry.path().filename()] = entry.path();
    }
  }
  const std::map<std::string, std::string> renamed = {
      {"gitignore", ".gitignore"}, {"plugin.cpp", names.name + ".cpp"}, {"test.cpp", names.name + "_test.cpp"}};
  for (const auto& [name, source] : files) {
    const auto target = renamed.find(name);
    write_filled_in(source, made.temporary() / (target == renamed.end() ? name : target->second), names);
  }
  made.commit();
}

int plugins_new_command(const std::vector<std::string>& arguments) {
  ArgumentRules rules{kPluginsNewCommand, usage(), po::options_description("options"), {"name"}};
  rules.visible.add_options()                                                              //
      ("kind", po::value<std::string>()->value_name("KIND"), "the kind of the component")  //
      ("out", po::value<std::string>()->value_name("DIR"),
       "folder to write (default: NAME, in the working directory)")  //
      ("json", "print JSON: what was written and where");
  const auto parsed = parse_arguments(std::move(rules), arguments);
  if (!parsed) return 0;
  if (parsed->count("kind") == 0)
    throw ConfigError(text(kPluginsNewCommand, ": --kind is missing; see `casdm ", kPluginsNewCommand, " --help`"));
  const PluginNames names =
      plugin_names((*parsed)["kind"].as<std::string>(), word(*parsed, "name", kPluginsNewCommand));
  fs::path folder = parsed->count("out") > 0 ? (*parsed)["out"].as<std::string>() : names.name;
  if (!folder.has_filename()) folder = folder.parent_path();  // DIR/
  refuse_inside_run(kPluginsNewCommand, folder);
  write_plugin_tree(prefix() / CASDM_DATADIR / "casdm" / "templates", names, folder);
  std::cout << (parsed->count("json") > 0 ? to_json(described(folder, names), 2) : folder.string()) << '\n';
  print_next_steps(folder, names);
  return 0;
}

}  // namespace casdm
