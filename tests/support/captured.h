#pragma once

#include <functional>
#include <string>

namespace casdm::testing {

/// The output to stderr while `work` runs, by this process and those that it starts.
std::string stderr_of(const std::function<void()>& work);

}  // namespace casdm::testing
