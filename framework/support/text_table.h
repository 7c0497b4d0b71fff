#pragma once

#include <string>
#include <vector>

namespace casdm {

/// `rows` as lines with aligned columns two spaces apart, each line indented by `indent`. After a newline inside a last
/// cell, the text continues in its column. Cells are made `printable`. Ends with a newline unless there are no rows.
std::string text_table(std::vector<std::vector<std::string>> rows, std::size_t indent = 0);

}  // namespace casdm
