#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace casdm {

/// `content` as HTML shows them, in text and in attributes in double quotes; what could steer a terminal or turn the
/// direction of writing is escaped as `printable` does. Whatever comes from a file or a name goes through this.
std::string html(std::string_view content);

/// `bytes` in base64, as data URIs have it.
std::string base64(std::string_view bytes);

/// A table whose first column heads its rows; cells are HTML already. Numbers and intervals, "[1, 2]", stay on one
/// line.
struct HtmlTable {
  std::string caption;
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
};

/// Within its own box that scrolls to the side where it is wider than the page.
std::string to_html(const HtmlTable& table);

/// A whole page that needs nothing but itself: its style, its script, and a policy that lets a browser load and run
/// nothing else.
std::string html_page(const std::string& title, const std::string& body);

}  // namespace casdm
