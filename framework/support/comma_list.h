#pragma once

#include <functional>
#include <string>
#include <vector>

namespace casdm {

/// The values of a list such as "10,50"; a value may be empty.
/// @param is_file  whether a value is the path of a file, which may contain commas: from the first value on, the
///                 longest path that fits is taken; null: no value is a path
std::vector<std::string> values_of_list(const std::string& list,
                                        const std::function<bool(const std::string&)>& is_file = nullptr);

}  // namespace casdm
