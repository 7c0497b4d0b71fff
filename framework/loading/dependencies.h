#pragma once

#include <filesystem>
#include <string>

namespace casdm {

/// dlopen's message about `library` ("libfoo.so.1: cannot open shared object file: ..."), extended by the library that
/// needs the missing one and by what to do; other messages are returned unchanged.
std::string explain_load_failure(const std::filesystem::path& library, const std::string& dl_error);

}  // namespace casdm
