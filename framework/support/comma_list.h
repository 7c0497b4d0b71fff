#pragma once

#include <functional>
#include <string>
#include <vector>

namespace casdm {

/// The values of a list such as "10,50"; a value may be empty.
/// @param is_file  whether a value is the path of a file, which may have commas: of several readings the one with the
///                 longest paths counts, from the first value on; null: no value is a path
std::vector<std::string> values_of_list(const std::string& list,
                                        const std::function<bool(const std::string&)>& is_file = nullptr);

}  // namespace casdm
