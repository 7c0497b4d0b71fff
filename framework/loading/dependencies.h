#pragma once

#include <filesystem>
#include <string>

namespace casdm {

/// What dlopen said about `library` ("libfoo.so.1: cannot open shared object file: ..."), with the library that needs
/// the missing one and what to do; as it is when it says something else.
std::string explain_load_failure(const std::filesystem::path& library, const std::string& dl_error);

}  // namespace casdm
