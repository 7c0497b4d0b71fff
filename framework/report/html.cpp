#include "framework/report/html.h"

#include <openssl/evp.h>

#include "casdm/text.h"
#include "framework/report/page_parts.h"

namespace casdm {

namespace {

constexpr std::size_t kLongestNumber = 12;  // characters in a table cell

/// SHA-256 in base64, by which the page's policy allows its script.
std::string script_hash(std::string_view script) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_Digest(script.data(), script.size(), digest, &size, EVP_sha256(), nullptr);
  return base64({reinterpret_cast<const char*>(digest), size});
}

/// Numbers and intervals are not wrapped.
bool stays_on_a_line(const std::string& cell) { return cell.size() <= kLongestNumber || cell.starts_with('['); }

}  // namespace

std::string html(std::string_view content) {
  std::string result;
  for (const char c : printable(content)) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

std::string base64(std::string_view bytes) {
  std::string result((bytes.size() + 2) / 3 * 4 + 1, '\0');  // EVP_EncodeBlock appends a NUL
  const int size =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(result.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  result.resize(static_cast<std::size_t>(size));
  return result;
}

std::string to_html(const HtmlTable& table) {
  std::string result = text("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"", table.caption,
                            "\"><table><caption>", table.caption, "</caption><thead><tr>");
  for (const std::string& cell : table.header) result += text("<th scope=\"col\">", cell, "</th>");
  result += "</tr></thead><tbody>";
  for (const std::vector<std::string>& row : table.rows) {
    result += "<tr>";
    for (std::size_t i = 0; i < row.size(); ++i) {
      result += i == 0 ? text("<th scope=\"row\">", row[i], "</th>")
                       : text(stays_on_a_line(row[i]) ? "<td class=\"nowrap\">" : "<td>", row[i], "</td>");
    }
    result += "</tr>";
  }
  return result + "</tbody></table></div>\n";
}

std::string html_page(const std::string& title, const std::string& body) {
  return text("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
              "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; ",
              "style-src 'unsafe-inline'; script-src 'sha256-", script_hash(kPageScript), "'\">\n",
              "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
              "<meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n<title>",
              html(title), "</title>\n<style>", kPageStyle, "</style>\n</head>\n<body>\n", body, "<script>",
              kPageScript, "</script>\n</body>\n</html>\n");
}

}  // namespace casdm
