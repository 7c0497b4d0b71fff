#include "framework/config/document.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/key_path.h"
#include "framework/config/merge.h"
#include "framework/config/overrides.h"
#include "framework/config/parse_toml.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kLargestFile = std::size_t{16} << 20;

/// Reads files and what they include; knows the chain of files being read.
class Loader {
 public:
  Value load(const fs::path& file, const Location& includer) {
    const fs::path canonical = fs::weakly_canonical(file);
    for (const auto& [known, shown] : chain_) {
      if (known == canonical) fail_at(includer, text("files include each other: ", chain(), " -> ", file.string()));
    }
    std::string content = read(file, includer);
    chain_.emplace_back(canonical, file.string());
    Value value = compose(parse_toml(content, file.string()), file.parent_path());
    chain_.pop_back();
    return value;
  }

  /// `document` merged over what it includes.
  Value compose(Value document, const fs::path& folder) {
    const Value* include = document.find("include");
    if (include == nullptr) return document;
    std::vector<Value> names = include->is_array() ? include->as_array() : std::vector<Value>{*include};
    Value result{Value::Table{}};
    for (const Value& name : names) {
      if (!name.is_string()) {
        fail_at(name.location(), text("expected a file name or an array of them, got ", name.type_name()));
      }
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

  static std::string read(const fs::path& file, const Location& includer) {
    std::error_code ignored;
    if (fs::is_directory(file, ignored)) fail_at(includer, text(file.string(), " is a folder, not an experiment file"));
    errno = 0;
    std::ifstream stream(file, std::ios::binary);
    if (!stream) fail_at(includer, text(file.string(), " cannot be read: ", std::strerror(errno), near(file)));
    std::string content(kLargestFile + 1, '\0');
    stream.read(content.data(), static_cast<std::streamsize>(content.size()));
    if (stream.bad()) fail_at(includer, text(file.string(), " cannot be read to its end"));
    content.resize(static_cast<std::size_t>(stream.gcount()));
    if (content.size() > kLargestFile)
      fail_at(includer, text(file.string(), " is larger than 16 MiB, no experiment file"));
    return content;
  }

  static std::string near(const fs::path& file) {
    std::error_code error;
    std::vector<std::string> names;
    const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
      if (entry->path().extension() == ".toml") names.push_back(entry->path().filename().string());
    }
    const std::vector<std::string> likely = nearest(file.filename().string(), names, 1);
    return likely.empty() ? "" : text("; did you mean '", (file.parent_path() / likely.front()).string(), "'?");
  }

  std::vector<std::pair<fs::path, std::string>> chain_;
};

}  // namespace

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
  return Loader().compose(parse_toml(toml, file), is_here ? fs::path() : folder);
}

}  // namespace casdm
