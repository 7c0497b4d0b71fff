#include "framework/config/document.h"

#include <algorithm>
#include <climits>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/key_path.h"
#include "framework/config/merge.h"
#include "framework/config/overrides.h"
#include "framework/config/parse_toml.h"
#include "framework/support/files.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

/// Reads files and their includes; knows the chain of files being read.
class Loader {
 public:
  Value load(const fs::path& file, const Location& includer) {
    budget_.add_file(includer);
    const std::string problem = path_problem(file.string());
    if (!problem.empty()) fail_at(includer, text(quoted(file.string()), " ", problem));
    std::error_code error;
    fs::path canonical = fs::weakly_canonical(file, error);
    if (error) canonical = file;
    for (const auto& [known, shown] : chain_) {
      if (known == canonical) fail_at(includer, text("files include each other: ", chain(), " -> ", file.string()));
    }
    const std::string content = read(file, includer);
    chain_.emplace_back(canonical, file.string());
    Value value = compose(parse_toml(content, file.string(), budget_), file.parent_path());
    chain_.pop_back();
    return value;
  }

  Value parse(const std::string& toml, const std::string& file) { return parse_toml(toml, file, budget_); }

  /// `document` merged over the files that it includes.
  Value compose(Value document, const fs::path& folder) {
    const Value* include = document.find("include");
    if (include == nullptr) return document;
    std::vector<Value> names = include->is_array() ? include->as_array() : std::vector<Value>{*include};
    Value result{Value::Table{}};
    for (const Value& name : names) {
      if (!name.is_string()) {
        fail_at(name.location(), text("expected a file name or an array of them, got ", name.type_name()));
      }
      if (name.as_string().empty()) fail_at(name.location(), "expected the name of a file, got \"\"");
      merge(result, load((folder / name.as_string()).lexically_normal(), name.location()), &host_schema());
    }
    std::erase_if(document.as_table(), [](const Value::Member& member) { return member.first == "include"; });
    merge(result, document, &host_schema());
    return result;
  }

 private:
  std::string chain() const {
    std::vector<std::string> names;
    for (const auto& [known, shown] : chain_) names.push_back(shown);
    return join(names, " -> ");
  }

  std::string read(const fs::path& file, const Location& includer) const {
    std::error_code ignored;
    if (fs::is_directory(file, ignored)) fail_at(includer, text(file.string(), " is a folder, not an experiment file"));
    try {
      return read_regular_file(file, budget_.bytes_left());
    } catch (const Error& error) {
      const std::string near = fs::exists(file, ignored) ? "" : near_path(file, ".toml");
      fail_at(includer, text(error.what(), near.empty() ? "" : text("; did you mean '", near, "'?")));
    }
  }

  ReadingBudget budget_;
  std::vector<std::pair<fs::path, std::string>> chain_;
};

}  // namespace

std::string path_problem(const std::string& path) {
  if (path.find('\0') != std::string::npos) return "is not a path: it holds a character NUL";
  if (path.find('\n') != std::string::npos) return "is not taken as a path: it holds a line break";
  if (path.size() >= PATH_MAX) return text("is not a path: it is longer than ", PATH_MAX - 1, " bytes");
  for (const fs::path& part : fs::path(path)) {
    if (part.native().size() > NAME_MAX) {
      return text("is not a path: a name in it is longer than ", NAME_MAX, " bytes");
    }
  }
  return "";
}

std::string path_problem(const Value& written) {
  const std::string& path = written.as_string();
  if (path == "~" || path.starts_with("~/")) {
    return "is not expanded here: write the whole path, or ./~ for a folder of that name";
  }
  return path_problem(absolute_path(written));
}

std::string absolute_path(const Value& value) {
  const std::string& written = value.as_string();
  const Location& location = value.location();
  if (written.empty() || location.file.empty()) return written;
  const fs::path folder = location.line == 0 ? fs::path() : fs::path(location.file).parent_path();
  return fs::absolute(folder / written).lexically_normal().string();
}

Value load_document(const fs::path& file, const std::vector<std::string>& overrides) {
  Value document = Loader().load(file.lexically_normal(), {});
  apply_overrides(document, overrides);
  return document;
}

Value parse_document(const std::string& toml, const std::string& name, const fs::path& folder) {
  const bool is_here = fs::weakly_canonical(fs::absolute(folder)) == fs::current_path();
  const std::string file = is_here ? name : (folder / name).string();
  Loader loader;
  return loader.compose(loader.parse(toml, file), is_here ? fs::path() : folder);
}

}  // namespace casdm
