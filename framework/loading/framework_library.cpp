#include "framework/loading/framework_library.h"

#include <unistd.h>

#include <boost/dll/runtime_symbol_info.hpp>
#include <boost/dll/shared_library.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>

#include "casdm/error.h"
#include "casdm/stamp.h"
#include "casdm/text.h"
#include "framework/loading/dependencies.h"
#include "framework/support/files.h"
#include "framework/support/sanitizers.h"
#include "framework/support/shell_word.h"

namespace casdm {

namespace {

namespace dll = boost::dll;
namespace fs = std::filesystem;

constexpr std::string_view kVersionLine = "__version__ = '";  // of torch/version.py
const std::string kTorchMinor = text(TORCH_VERSION_MAJOR, ".", TORCH_VERSION_MINOR);

/// Where a package of casdm looks for the Python package torch, and the commands that put it there; nothing for a
/// build.
struct TorchPlace {
  fs::path folder;
  std::string commands;
};

std::optional<TorchPlace> torch_place(const fs::path& libraries) {
  const fs::path prefix = libraries.parent_path();
  std::error_code ignored;
  if (fs::exists(prefix / "__init__.py", ignored)) {  // a wheel
    const char* python = std::getenv("CASDM_PYTHON");
    return TorchPlace{prefix.parent_path() / "torch", text("  ", shell_word(python != nullptr ? python : "python3"),
                                                           " -m pip install 'torch==", kTorchMinor, ".*'\n")};
  }
  const fs::path told = libraries / "casdm" / "libtorch.txt";  // a Debian package
  if (fs::exists(told, ignored)) return TorchPlace{libraries / "casdm" / "torch", read_file(told)};
  return std::nullopt;
}

/// What is wrong with the LibTorch that belongs to the package which holds `library`; empty: nothing, or it is no
/// package.
std::string wrong_torch(const fs::path& library) {
  const std::optional<TorchPlace> place = torch_place(library.lexically_normal().parent_path());
  if (!place) return "";
  std::ifstream lines(place->folder / "version.py");
  std::string version;
  for (std::string line; version.empty() && std::getline(lines, line);) {
    if (line.starts_with(kVersionLine))
      version = line.substr(kVersionLine.size(), line.find('\'', kVersionLine.size()) - kVersionLine.size());
  }
  if (version.starts_with(kTorchMinor + ".")) return "";
  return text("this casdm was built with LibTorch " TORCH_VERSION ", which the Python package torch ", kTorchMinor,
              " brings; there is ", version.empty() ? "no torch" : "torch " + quoted(version), " in ",
              place->folder.parent_path().string(), ". Install it:\n", place->commands,
              version.empty() ? "" : "or, to keep that torch, use casdm in an environment of its own");
}

/// Global, as if the program were linked to it; never closed.
const dll::shared_library& open_framework() {
  const fs::path library = dll::this_line_location().parent_path() / "libcasdm_framework.so";
  try {
    const auto* opened = new dll::shared_library(library, dll::load_mode::rtld_now | dll::load_mode::rtld_global);
    end_without_libtorch();
    return *opened;
  } catch (const std::exception& error) {
    if (const std::string wrong = wrong_torch(library); !wrong.empty()) throw Error(wrong);
    const std::string explanation = explain_load_failure(library, error.what());
    const bool is_other = explanation.find("undefined symbol") != std::string::npos;
    throw Error(text(library.string(), " cannot be loaded: ", explanation,
                     is_other ? ". It was built with LibTorch " TORCH_VERSION
                                "; does LD_LIBRARY_PATH or LD_PRELOAD lead to another one?"
                              : ""));
  }
}

}  // namespace

void end_without_libtorch() {
  if (kIsSanitized) return;
  const auto end = [](int status, void*) {
    std::cout.flush();
    std::fflush(nullptr);
    ::_exit(status);
  };
  ::on_exit(end, nullptr);
}

int run_in_framework(const char* symbol, const std::vector<std::string>& arguments) {
  static const dll::shared_library& framework = open_framework();
  const char* difference = framework.get<const char*()>("casdm_libtorch_difference")();
  if (difference != nullptr) {
    const std::string wrong = wrong_torch(framework.location().string());
    throw Error(wrong.empty() ? difference : wrong);
  }
  framework.get<void()>("casdm_hide_stack_traces")();
  using Command = int(const std::vector<std::string>&);
  return framework.get<int(Command*, const std::vector<std::string>&)>("casdm_run_command")(
      &framework.get<Command>(symbol), arguments);
}

}  // namespace casdm
