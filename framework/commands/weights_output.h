#pragma once

#include <filesystem>
#include <map>
#include <string>

namespace casdm {

/// Where a command is to write weights.
struct WeightsOutput {
  std::string command;          ///< "export"
  std::filesystem::path path;   ///< of --out: a safetensors file, or the folder of one
  std::filesystem::path input;  ///< what it reads, which it never replaces
  bool overwrite = false;
};

/// Throws ConfigError when `path` belongs to a run, is the input, or exists; with `overwrite`, when it exists and the
/// same command has not made it. An empty file or folder is replaced, too.
/// @param file    of `path`, when that is a folder: the file that says who made it
/// @param config  the file beside it that came with it: one that was changed since is not replaced
void check_output(const WeightsOutput& output, const std::string& file = "", const std::string& config = "");

/// `metadata` of a safetensors file, with the mark by which `check_output` knows what the command has made.
std::map<std::string, std::string> marked(std::map<std::string, std::string> metadata, const std::string& command);

}  // namespace casdm
