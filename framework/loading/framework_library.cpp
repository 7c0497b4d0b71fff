#include "framework/loading/framework_library.h"

#include <boost/dll/runtime_symbol_info.hpp>
#include <boost/dll/shared_library.hpp>
#include <filesystem>

#include "casdm/error.h"
#include "casdm/stamp.h"
#include "casdm/text.h"
#include "framework/loading/dependencies.h"

namespace casdm {

namespace {

namespace dll = boost::dll;

/// Global, as if the program were linked to it; never closed.
const dll::shared_library& open_framework() {
  const std::filesystem::path library = dll::this_line_location().parent_path() / "libcasdm_framework.so";
  try {
    return *new dll::shared_library(library, dll::load_mode::rtld_now | dll::load_mode::rtld_global);
  } catch (const std::exception& error) {
    const std::string explanation = explain_load_failure(library, error.what());
    const bool is_other = explanation.find("undefined symbol") != std::string::npos;
    throw Error(text(library.string(), " cannot be loaded: ", explanation,
                     is_other ? ". It was built with LibTorch " TORCH_VERSION
                                "; does LD_LIBRARY_PATH or LD_PRELOAD lead to another one?"
                              : ""));
  }
}

}  // namespace

int run_in_framework(const char* symbol, const std::vector<std::string>& arguments) {
  static const dll::shared_library& framework = open_framework();
  const char* difference = framework.get<const char*()>("casdm_libtorch_difference")();
  if (difference != nullptr) throw Error(difference);
  framework.get<void()>("casdm_hide_stack_traces")();
  using Command = int(const std::vector<std::string>&);
  return framework.get<int(Command*, const std::vector<std::string>&)>("casdm_run_command")(
      &framework.get<Command>(symbol), arguments);
}

}  // namespace casdm
