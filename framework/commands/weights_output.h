#pragma once

#include <filesystem>
#include <map>
#include <string>

namespace casdm {

/// Where a command writes weights.
struct WeightsOutput {
  std::string command;          ///< "export"
  std::filesystem::path path;   ///< of --out: a safetensors file, or the folder of one
  std::filesystem::path input;  ///< what the command reads; never replaced
  bool overwrite = false;
};

/// Throws ConfigError if `path` belongs to a run, is the input, or exists; with `overwrite`, only if what exists was
/// not made by the same command. An empty file or folder is always replaced.
/// @param file    if `path` is a folder: the file in it that records who made it
/// @param config  a file that was written with it: if it was changed since, it is not replaced
void check_output(const WeightsOutput& output, const std::string& file = "", const std::string& config = "");

/// `metadata` of a safetensors file, with the mark by which `check_output` recognises files that the command made.
std::map<std::string, std::string> marked(std::map<std::string, std::string> metadata, const std::string& command);

}  // namespace casdm
