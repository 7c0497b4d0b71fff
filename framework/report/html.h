#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace casdm {

/// `content` escaped for HTML, in text and in double-quoted attributes; characters that could control a terminal or
/// change the writing direction are escaped as `printable` does. Everything that comes from a file or a name must go
/// through this.
std::string html(std::string_view content);

/// `bytes` in base64, as in data URIs.
std::string base64(std::string_view bytes);

/// A table whose first column contains row headers; cells are HTML already. Numbers and intervals, "[1, 2]", are not
/// wrapped.
struct HtmlTable {
  std::string caption;
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
};

/// The table in a box that scrolls sideways if it is wider than the page.
std::string to_html(const HtmlTable& table);

/// A complete, self-contained page with its style, its script, and a policy that keeps a browser from loading or
/// running anything else.
std::string html_page(const std::string& title, const std::string& body);

}  // namespace casdm
