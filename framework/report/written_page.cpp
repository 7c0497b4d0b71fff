#include "framework/report/written_page.h"

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/report/html.h"
#include "framework/support/files.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kMark = "<p id=\"made-by\">Made by casdm report";
constexpr const char* kDigest = "<!-- sha256 of all before this: ";
constexpr const char* kEnd = " -->\n";
constexpr std::string_view kFrom = " from ";
constexpr const char* kBegins = "<!-- the run begins with ";

/// The part of a page after `before` and until `after`, as HTML; empty: there is none.
std::string between(const std::string& page, const std::string& before, const char* after) {
  const std::size_t begin = page.find(before);
  if (begin == std::string::npos) return "";
  const std::size_t first = begin + before.size(), end = page.find(after, first);
  return end == std::string::npos ? "" : page.substr(first, end - first);
}

std::string title_of(const std::string& page) { return between(page, "<title>", "</title>"); }

std::string beginning_of(const std::string& page) { return between(page, kBegins, kEnd); }

/// The folder that a page is about.
std::string origin_of(const std::string& page) {
  std::string origin = between(page, text(kMark, kFrom), "</p>");
  for (const auto& [name, character] :
       {std::pair("&lt;", "<"), std::pair("&gt;", ">"), std::pair("&quot;", "\""), std::pair("&amp;", "&")}) {
    const std::size_t length = std::string_view(name).size();
    for (std::size_t at = 0; (at = origin.find(name, at)) != std::string::npos; ++at)
      origin.replace(at, length, character);
  }
  return origin;
}

}  // namespace

std::string origin_line(const fs::path& folder, const std::string& beginning) {
  return text(kMark, kFrom, html(folder.string()), "</p>", kBegins, beginning, kEnd);
}

std::string with_digest(const std::string& page) { return text(page, kDigest, sha256(page), kEnd); }

bool is_report(const fs::path& file) {
  std::error_code ignored;
  if (!fs::is_regular_file(file, ignored)) return false;
  const std::string page = read_file(file);
  if (page.find(kMark) == std::string::npos) return false;
  const std::size_t end = page.rfind(kDigest);  // pages of earlier versions have none
  return end == std::string::npos || page.substr(end) == text(kDigest, sha256(page.substr(0, end)), kEnd);
}

void refuse_other_page(const std::string& command, const fs::path& file) {
  std::error_code ignored;
  if (!fs::exists(fs::symlink_status(file, ignored)) || is_report(file)) return;
  throw ConfigError(text(command, ": ", file.string(),
                         " was not written by `casdm report`, or was changed since, and is "
                         "not replaced; move it away, or choose another name"));
}

void refuse_page_of_another(const std::string& command, const fs::path& file, const std::string& page) {
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return;
  const std::string there = read_file(file), origin = origin_of(there);
  // A run may have been moved since.
  const bool is_same =
      origin == origin_of(page) || (!fs::exists(origin, ignored) && beginning_of(there) == beginning_of(page));
  if (is_same && title_of(there) == title_of(page)) return;
  throw ConfigError(
      text(command, ": ", file.string(), " is the page of another run or sweep; choose another name, or remove it"));
}

}  // namespace casdm
