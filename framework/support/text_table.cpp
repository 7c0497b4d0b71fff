#include "framework/support/text_table.h"

#include <algorithm>

#include "casdm/text.h"

namespace casdm {

std::string text_table(std::vector<std::vector<std::string>> rows, std::size_t indent) {
  for (auto& row : rows) {
    for (std::string& cell : row) cell = printable(cell);
  }
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i + 1 < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string result;
  for (const auto& row : rows) {
    std::string line(indent, ' ');
    for (std::size_t i = 0; i + 1 < row.size(); ++i) line += row[i] + std::string(widths[i] + 2 - row[i].size(), ' ');
    const std::string margin(line.size(), ' ');
    for (const char c : row.empty() ? std::string() : row.back()) line += c == '\n' ? "\n" + margin : std::string(1, c);
    line.erase(line.find_last_not_of(' ') + 1);
    result += line + "\n";
  }
  return result;
}

}  // namespace casdm
