#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

namespace casdm {

/// What ends the folder or the archive in a name.
constexpr const char* kPlaceEndings = "/:";

/// The length of the prefix that all names share, up to its last '/' or ':': the folder or archive of what they name.
/// @param count    at least 1
/// @param name_of  returns the name of an index from 0 to count - 1
template <class NameOf>
std::size_t shared_place(std::int64_t count, NameOf&& name_of) {
  std::string shared(name_of(std::int64_t{0}));
  for (std::int64_t i = 1; i < count; ++i) {
    const auto& name = name_of(i);
    shared.erase(std::mismatch(shared.begin(), shared.end(), name.begin(), name.end()).first, shared.end());
  }
  return shared.find_last_of(kPlaceEndings) + 1;  // 0 if there is none
}

}  // namespace casdm
