#pragma once

#include <filesystem>
#include <string>

/// How pages of `casdm report` say what made them, so that nothing else is replaced.
namespace casdm {

/// The line of a page that says what made it and which folder it is about, as HTML.
/// @param beginning  of that run, by which it is recognised where it has been moved to; without "-->"
std::string origin_line(const std::filesystem::path& folder, const std::string& beginning);

/// The page with a digest at its end, by which later changes are noticed.
std::string with_digest(const std::string& page);

/// Whether `file` is a page written by this or an earlier version.
bool is_report(const std::filesystem::path& file);

/// Throws ConfigError if `file` exists and is not a page written by this or an earlier version.
void refuse_other_page(const std::string& command, const std::filesystem::path& file);

/// Throws ConfigError if `file` is a page about another run or sweep than `page` is.
void refuse_page_of_another(const std::string& command, const std::filesystem::path& file, const std::string& page);

}  // namespace casdm
